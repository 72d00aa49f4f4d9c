"""``shootdown soak``: random scenarios, kernels, devices and faults against what is promised."""
