"""The passes: one property a module, each an observer of records that decides nothing else.

S1 to S5 (docs/checking.md) judge one record (`local`); the memory models judge an execution's
accesses (`models`). Live runs, the explorer and `shootdown check` all use these and no others.
The order of reading: `finding`, `freshness`, `events`, `sc`, `models`.
"""
