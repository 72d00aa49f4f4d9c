"""The daemon's input and output: sockets, the segment, histories, choices, logs, its main loop."""
