"""``python -m torchprotect``."""

from torchprotect.cli import main

if __name__ == "__main__":
    main()
