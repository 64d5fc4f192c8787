"""Tables and text for a paper, in LaTeX."""

import math
import unicodedata

from circuit_reuse.report.numbers import number, small

SPECIAL = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
SPECIAL |= {"<": "$<$", ">": "$>$", "|": "$|$"}
SPECIAL |= {character: "\\" + character for character in "&%$#_{}"}
SPECIAL |= {
    "≤": "$\\leq$",
    "≥": "$\\geq$",
    "≠": "$\\neq$",
    "≈": "$\\approx$",
    "−": "$-$",
    "×": "$\\times$",
    "±": "$\\pm$",
}
SPECIAL |= {"→": "$\\to$", "←": "$\\leftarrow$", "∞": "$\\infty$", "√": "$\\surd$", "·": "$\\cdot$", "…": "\\dots{}"}
SPECIAL |= {"–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~", "\u202f": "\\,"}
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψω", GREEK.split(), strict=True)) | {"µ": "mu"}
GREEK |= dict(zip("ΓΔΘΛΞΠΣΥΦΨΩ", "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(), strict=True))
SPECIAL |= {letter: f"$\\{name}$" for letter, name in GREEK.items()}
# Letters and accents that LaTeX prints without a package.
LAST_LATIN = "\u017f"
LETTERS = set("ßæœøłıÆŒØŁ")
ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")


def escape(text):
    """Text as LaTeX prints it, in a document without packages; a character that it cannot print is given by its number."""
    return "".join(map(printed, unicodedata.normalize("NFC", str(text))))


def printed(character):
    """One character as LaTeX prints it."""
    if character in SPECIAL:
        return SPECIAL[character]
    if " " <= character <= "~" or character in LETTERS:
        return character
    letter, *accents = unicodedata.normalize("NFD", character)
    if "A" <= letter <= "z" and len(accents) == 1 and accents[0] in ACCENTS and character <= LAST_LATIN:
        return character
    if character.isspace():
        return " "
    return f"[U+{ord(character):04X}]"


def p_cell(value):
    """A p-value as LaTeX prints it; a dash where there is no test."""
    return escape(small(value).replace("-", "--"))


def results_table(rows, columns, caption, label):
    """A table of results that compiles with booktabs.

    rows:    dicts of text, as a CSV has them
    columns: {name: heading}; a value that has <name>_low and <name>_high is given with its interval, and a p or q as such
    """
    numeric = {name for name in columns if all(is_number(row[name]) for row in rows)}
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"  \\caption{{{escape(caption)}}}\\label{{{label}}}",
        "  \\resizebox{\\linewidth}{!}{%",
        f"  \\begin{{tabular}}{{{''.join('r' if name in numeric else 'l' for name in columns)}}}",
        "    \\toprule",
        "    " + " & ".join(map(escape, columns.values())) + " \\\\",
        "    \\midrule",
        *("    " + " & ".join(cell(row, name, name in numeric) for name in columns) + " \\\\" for row in rows),
        "    \\bottomrule",
        "  \\end{tabular}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def is_number(text):
    """Whether a cell of a CSV is a number, or empty."""
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def cell(row, name, numeric):
    """A value as LaTeX prints it, with its interval if the row has one."""
    if not numeric:
        return escape(row[name])
    values = [float(row.get(key) or math.nan) for key in (name, f"{name}_low", f"{name}_high")]
    if name.startswith(("p_", "q_")):
        return p_cell(values[0])
    value, *ends = (minus(number(each)) for each in values)
    return f"{value} [{', '.join(ends)}]" if all(map(math.isfinite, values)) else value


def minus(text):
    """A number as LaTeX prints it, with a minus sign in place of a hyphen; a dash for none."""
    return "--" if text == "-" else text.replace("-", "$-$")
