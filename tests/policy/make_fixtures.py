#!/usr/bin/env python3
"""Write fixtures/python.safetensors with the reference implementation (pip install safetensors numpy).

A 3-4-2 Gaussian network with values, every number its position in its tensor divided by 8, and float32 exact.
"""
import pathlib

import numpy
from safetensors.numpy import save_file

shapes = {
    "layers.0.weight": (4, 3),
    "layers.0.bias": (4,),
    "layers.1.weight": (2, 4),
    "layers.1.bias": (2,),
    "log_std": (2,),
    "value.0.weight": (4, 3),
    "value.0.bias": (4,),
    "value.1.weight": (1, 4),
    "value.1.bias": (1,),
}
tensors = {
    name: (numpy.arange(numpy.prod(shape), dtype=numpy.float32) / 8).reshape(shape) for name, shape in shapes.items()
}
metadata = {"format": "drover-mlp-1", "activation": "leaky_relu", "head": "gaussian", "leaky_slope": "0.25"}
save_file(tensors, pathlib.Path(__file__).parent / "fixtures" / "python.safetensors", metadata)
