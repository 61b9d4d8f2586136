"""Memory that is freed and asked for again: kept by the process, where giving it back to the system costs more."""

import ctypes

# parameters of glibc's mallopt, from its malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for the rest of this process; False where it is not glibc.

    Training and attacking free and ask for the same large tensors at every step. By default each of them is a mapping
    of its own, whose pages the system clears anew every time: measured on one core, a quarter of the time of an attack
    on a small convolutional network, and up to 40 % of that of training one with large minibatches.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(option, value) for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**30), (TOP_PAD, 2**26)))
