"""``python -m demo``: the director's entry alone, so that Ctrl-C is quiet even while everything is being imported."""

import sys

if __name__ == "__main__":
    try:
        from demo.director import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
