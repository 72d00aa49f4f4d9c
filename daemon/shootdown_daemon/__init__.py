"""The kernel side: address spaces, page tables, locks, mm operations and the mmu notifier.

``machine`` is pure and is what gets explored; ``shell`` does the input and output of a process.
"""
