"""An attempt at a trial of a user's trainer in a process of its own, to be killed: prints each
point as a line `[step, losses]`.
"""

import json
import sys
from pathlib import Path

from tests.support.attempt import Attempt


class Printed(dict):
    def __setitem__(self, step, losses):
        print(json.dumps([step, losses]), flush=True)


def main(folder, content):
    attempt = Attempt(Path(folder), **json.loads(content))
    attempt.points = Printed()
    attempt.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
