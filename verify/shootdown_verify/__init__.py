"""What watches a testbed: the scenario language, testbed files, checkers, explorer and reports.

Nothing here runs inside a daemon or an agent; it reads what people wrote and what processes
recorded, and judges.
"""
