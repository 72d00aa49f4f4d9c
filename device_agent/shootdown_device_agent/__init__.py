"""The device side: an ATS device, its IOMMU walker, and the SDK for devices of one's own.

``machine`` is pure and is what gets explored; ``shell`` does the input and output of a process.
"""
