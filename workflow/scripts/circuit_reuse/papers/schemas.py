"""The tables of the claims of papers."""

# One table a paper.
CLAIMS = {
    "claim": "short name of the claim",
    "text": "the claim in a sentence",
    "where": "where it stands in the paper or its released files",
    "published": "what was published",
    "expected": "what counts as agreement, set before the run",
    "ours": "what the tables of this run give",
    "low": "2.5 per cent bound of it, where one row answers",
    "high": "97.5 per cent bound",
    "verdict": "agrees, differs, undecided (the interval holds both), other models (than those of the published number) or not run",
    "models": "models of this run that answer",
    "table": "table that answers, below results/tables",
    "why": "what decides it, or what is missing and what it would cost",
}
