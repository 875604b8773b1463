"""The launcher of ``hydra/launcher=slurm``: Hydra finds plugins in this namespace alone; see :mod:`saltext.runs.slurm`.

Hydra imports this at every start, so that nothing is imported here that takes time.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress

from hydra.core.utils import JobReturn

with suppress(ImportError):  # the extra slurm brings it
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher

    class SlurmLauncher(submitit_launcher.SlurmLauncher):
        """Submitit's launcher, which reads the states of jobs from ``squeue``, and describes how each ended."""

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            """Hydra calls this with the jobs of a sweep, or with some of them."""
            from saltext.console import MISTAKE
            from saltext.errors import SaltextError
            from saltext.runs.slurm import launch

            try:
                return launch(self, job_overrides, initial_job_idx)
            except SaltextError as error:  # of which Hydra would show the traceback
                print(f"error: {error}", file=sys.stderr)
                sys.exit(MISTAKE)
