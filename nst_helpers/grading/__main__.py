"""``python -m nst_helpers.grading``: which protections this computer lacks."""

from nst_helpers.grading.judge import Judge


def main() -> None:
    """Print a sentence for each, or that there is none to miss."""
    with Judge() as judge:
        missing = judge.missing()
    print("\n".join(missing) or "Every protection is there.")


if __name__ == "__main__":
    main()
