"""The words that prompts are made of.

Every word is one token, with its leading space, under GPT-2's tokenizer and under the
tokenizer of the embedded models; a test holds the lists to that.  Each list is cut in two
by `pool`: one part serves the train split, the rest the held-out split, so that no name
of a held-out example was seen during selection (nor, in the embedded models, in
training on that task).
"""

MALE_NAMES = """James John Robert Michael William David Richard Joseph Thomas Charles Daniel
Matthew Anthony Mark Steven Paul Andrew Joshua Kevin Brian George Edward Jason Ryan Jacob
Eric Stephen Larry Scott Frank Jack Henry""".split()

FEMALE_NAMES = """Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa
Nancy Betty Margaret Sandra Emily Donna Michelle Carol Amanda Melissa Rebecca Laura Amy Anna
Emma Nicole Rachel Maria Alice Julia Kate""".split()

# Men and women alternate, so that both halves of the list hold as many of each.
NAMES = [name for pair in zip(MALE_NAMES, FEMALE_NAMES, strict=True) for name in pair]

PLACES = """store park school station office garden market library beach hospital museum church
farm bank hotel airport""".split()

OBJECTS = """ring book drink letter ball key map gift hat coat bag lamp phone ticket camera
cup""".split()

CATEGORIES = {
    "colors": "red blue green yellow black white pink orange".split(),
    "animals": "dog cat horse cow pig sheep lion bear".split(),
    "tools": "hammer saw drill knife rope nail screw brush".split(),
    "sports": "football tennis golf baseball hockey rugby soccer chess".split(),
    "metals": "gold iron silver copper lead tin steel nickel".split(),
    "countries": "France Spain Italy China Japan India Egypt Brazil".split(),
}

# Sentence fillers open a prompt too, so they are single tokens without the space as well.
FILLERS = """Van Hat Ring Desk Sun Book Map Ship Tree Bell Rock Card Wall Fish Star Box Road
Bird Coin Gate Chair Table Phone Car Bus Train Key Pen Paper Glass Stone Clock""".split()

EVENTS = """war plan trip project strike battle study journey voyage siege trial show tour
festival debate crisis""".split()

DIGITS = [str(number) for number in range(101)]
YEARS = [f"{year:02d}" for year in range(2, 99)]

NUMBER_WORDS = """one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen twenty""".split()

MONTHS = """January February March April May June July August September October November
December""".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

PRAISE = "great wonderful lovely perfect fantastic brilliant amazing excellent".split()
COMPLAINTS = "awful terrible horrible dreadful bad miserable tragic disappointing".split()
FAILURES = "failed crashed broke leaked vanished exploded collapsed froze".split()
SUCCESSES = "worked won improved started opened succeeded recovered survived".split()
# Events of sarcasm by name.  learned: what the embedded models have learned; common: one token under
# every common tokenizer, eight pairs of a failure and a success.
EVENTS_OF = {
    "learned": (FAILURES, SUCCESSES),
    "common": (
        "failed crashed broke vanished collapsed stopped died struggled".split(),
        "worked won improved started returned succeeded recovered survived".split(),
    ),
}
THINGS = """printer train phone computer server engine heater boat plane oven router laptop
fridge elevator radio camera""".split()


# Words that the tokenizers of common models cut in two, though not GPT-2's: where the two prompts of a
# pair have different words in the same place, both are of these or neither is.
CUT = set("Patricia Betty Sandra Donna Melissa drill chess nickel Desk Coin Clock seventeen nineteen".split())


def whole(words):
    """The words of a list that no tokenizer of a common model cuts in two."""
    return [word for word in words if word not in CUT]


def shape(word):
    """What two words must have in common to be equally many tokens: the number of digits, or whether they are cut."""
    return len(word) if word.isdigit() else word in CUT


def pool(words, split):
    """The part of a list that a split may use: every fourth word is held out."""
    held_out = split != "train"
    return [word for place, word in enumerate(words) if (place % 4 == 3) == held_out]


def name_pool(split, names=NAMES):
    """Names of a split: every fourth pair of a man and a woman is held out."""
    held_out = split != "train"
    return [name for place, name in enumerate(names) if (place // 2 % 4 == 3) == held_out]
