"""The matrix: every operation under every discipline, each cell explored, and the rule of it.

No line here knows the answer: `clients` are the same observers for every row, `cells` asks the
explorer about each, and `rule` says in words what came out.
"""
