"""`python -m mailadmin`, for where the console script is not on the path."""

from mailadmin.cli import main

if __name__ == "__main__":
    main(prog_name="mailadmin")
