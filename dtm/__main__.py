"""`python -m dtm`."""

from dtm.cli import main

if __name__ == "__main__":
    main()
