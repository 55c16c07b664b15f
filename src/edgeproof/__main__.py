"""``python -m edgeproof`` is the console script ``edgeproof``."""

from edgeproof.app import main

if __name__ == "__main__":
    main()
