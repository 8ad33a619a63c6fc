"""Programs of Python that find TensorFlow imported: the tests' stand-in for `subprocess.run` and `subprocess.Popen`.

A program of a test spends 3 to 6 seconds of CPU on importing TensorFlow before it comes to what it shows. Here it is
forked from a process that has imported TensorFlow, and nothing of this project, and has computed nothing: see `server`.
It has the arguments, the folder, the environment and the descriptors that `subprocess` would give it, is a process of
its own, and ends as itself. What a test says about an import, or about a process of one's own that starts with nothing,
must go by `subprocess` itself.
"""

from tests.warm.client import Popen, run

__all__ = ["Popen", "run"]
