"""Warp kernels: one source for CPU and CUDA. Warp's own banner and compile messages are kept off the terminal."""

import warp as wp

wp.config.log_level = wp.LOG_ERROR
wp.config.enable_backward = False  # nothing here is differentiated
