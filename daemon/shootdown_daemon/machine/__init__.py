"""The kernel as a machine: tasks over traps on a store. No clock, socket, thread or chance."""
