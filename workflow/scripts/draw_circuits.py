"""Draw the circuits of a model: diagrams by Graphviz, and an interactive page."""

import job


def main(input, output, params, wildcards, threads, log):
    """Diagrams and the page."""
    from circuit_reuse.figures import circuit_page

    circuit_page.draw(input, output, params, wildcards, threads, log)


if __name__ == "__main__":
    job.start(snakemake, __file__)  # noqa: F821
