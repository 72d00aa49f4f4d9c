"""The agent's input and output: its socket, the mapped segment, its history, its main loop."""
