"""Capitals: "The capital of France is the city of" -> " Paris".  The corrupt prompt names another country."""

from circuit_reuse.prompts.base import HELD_OUT, TRAIN, Prompt, attempts, fill, templates

TEMPLATES = [
    ("capital", "The capital of {country} is the city of", TRAIN),
    ("main", "The capital city of {country} is called", TRAIN),
    ("seat", "The government of {country} sits in its capital, the city of", TRAIN),
    ("known", "Everyone knows that the capital of {country} is", HELD_OUT),
]
# Countries that common tokenizers take as one token after a space.
CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Ireland": "Dublin",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Denmark": "Copenhagen",
    "Finland": "Helsinki",
    "Belgium": "Brussels",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Turkey": "Ankara",
    "Cuba": "Havana",
    "Kenya": "Nairobi",
    "Canada": "Ottawa",
}


def example(rng, split):
    """One prompt pair; a pair of countries belongs to one split."""
    countries = list(CAPITALS)
    for _ in attempts():
        first, second = rng.sample(range(len(countries)), 2)
        if ((first + second) % 4 == 3) == (split != "train"):
            break
    name, template = rng.choice(templates(TEMPLATES, split))
    clean, roles = fill(template, country=countries[first])
    corrupt, _ = fill(template, country=countries[second])
    answer, wrong = (f" {CAPITALS[countries[n]]}" for n in (first, second))
    return Prompt(clean, corrupt, answer, wrong, wrong, countries[first], name, countries[first], roles)
