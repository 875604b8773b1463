"""An IPython kernel in a forked process, ``python -m tests.forked_kernel PYTHON ARGUMENTS``.

What its cells start as commands by ``sys.executable`` or by a program beside it is what PYTHON is: see
:func:`tests.forked.write_programs`.
"""

import os
import runpy
import sys

import matplotlib

_INLINE = "module://matplotlib_inline.backend_inline"


def main() -> None:
    """Answer a client until it sends the end."""
    sys.executable, *sys.argv[1:] = sys.argv[1:]
    # The kernel says so to a Matplotlib that is imported later; here it is there already.
    os.environ["MPLBACKEND"] = matplotlib.rcParams["backend"] = _INLINE
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
