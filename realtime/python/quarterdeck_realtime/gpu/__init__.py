"""For graphics processors, through CuPy: many patches in one batch, and a kernel that stays on the device.

No GPU was at hand when this was written. `min_sum` and `decoder` are written over an array module and are tested with
numpy; what only a GPU can show (CuPy's arrays, speed, and `persistent`) was never run.
"""

import quarterdeck_realtime.decoders  # noqa: F401 (its registry imports `decoder` here: whoever comes first, it is whole)
