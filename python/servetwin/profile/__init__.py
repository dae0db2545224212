"""Times a model's operators on the GPU at hand, and writes them as a table that `timing: {kind: table}` reads.

`plan.py`: which operators, at which sizes. `gpu.py`: torch's kernels and the clock. `run.py`: takes the times.
`write.py`: the folder they are written to.
"""
