"""What the kernel machine and the device machine both run on.

A task is a coroutine that suspends in one place only (`trap`); all state that tasks share is the
cells of a `store`. Nothing here knows a clock, a socket, a thread, a random number or a log.
"""
