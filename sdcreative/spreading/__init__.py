"""One film on many workers: processes of this machine, a Ray cluster, or shards of a job array.

``ranges`` cuts the frames that are missing, ``driver`` hands them to workers through an
``Executor`` and gives the pictures in order, ``worker`` is the other side, ``processes`` and
``on_ray`` are the executors; ``shards`` renders one part here, ``merging`` puts parts together.

Frames come back as PNG files in bytes, and the driver alone writes the store of frames: it has to
read every picture anyway to encode the film, a worker then needs no disk in common with it, and
frames that have arrived outlive a worker that was lost.
"""
