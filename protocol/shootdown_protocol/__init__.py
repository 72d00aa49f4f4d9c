"""What two processes of a testbed must agree on: layouts, entries, programs, messages, records.

Nothing here imports another room, and nothing here decides anything: it is vocabulary.
"""
