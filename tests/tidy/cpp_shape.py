"""The functions of a C++ file and how long they are, by counting braces over text without comments and literals.

It is no parser: a brace at the level of a namespace or a class, after a closing parenthesis of a parameter list, opens a
function. Conditional compilation must keep its braces balanced in each branch.
"""

import re
from dataclasses import dataclass

LITERALS = re.compile(
    r"""//[^\n]*                                     # comment to the end of the line
      | /\*.*?\*/                                    # comment
      | R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)" # raw string
      | "(?:\\.|[^"\\\n])*"                          # string
      | (?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'         # character; the look-behind spares digit separators: 1'000
    """,
    re.S | re.X,
)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
NAME = re.compile(r"([~\w:]+(?:<[^<>]*>)?|operator\s*\S+)\s*\($")


@dataclass
class Function:
    name: str
    first_line: int  # of its head
    last_line: int  # of its closing brace


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def bare(text):
    """`text` with comments, literals and preprocessor lines turned to spaces; line numbers stay."""
    return PREPROCESSOR.sub(blank, LITERALS.sub(blank, text))


def head_name(head):
    """The name in a function's head, or None when the head is none."""
    depth = 0
    for position, character in enumerate(head):
        if character == "(":
            if depth == 0:
                found = NAME.search(head[: position + 1])
                return found.group(1) if found else None
            depth += 1
        elif character == ")":
            depth -= 1
    return None


def is_scope(head):
    before_parenthesis = re.sub(r"\b(alignas|__attribute__|CAPABILITY|VARVE_\w+)\s*\([^{]*\)", "", head)
    return bool(SCOPE.search(before_parenthesis)) and "(" not in re.sub(r"<[^<>]*>", "", before_parenthesis)


def functions(text):
    """All functions, methods and tests in `text`; lambdas and local classes count as lines of what they stand in."""
    found = []
    text = bare(text)
    kinds = []  # of the open braces: "scope", "function" or "other"
    start = 0  # where the statement began that the next brace may belong to
    open_function = None
    parentheses = 0
    for position, character in enumerate(text):
        if character == "(":
            parentheses += 1
        elif character == ")":
            parentheses -= 1
        elif character == ";" and parentheses == 0:
            start = position + 1
        elif character == "{":
            kind = "other"
            if all(open_kind == "scope" for open_kind in kinds) and parentheses == 0:
                head = text[start:position]
                if is_scope(head):
                    kind = "scope"
                elif head_name(head) and not initialises_member(head):
                    kind = "function"
                    first = start + len(head) - len(head.lstrip())
                    open_function = (head_name(head), text.count("\n", 0, first) + 1, len(kinds))
            kinds.append(kind)
            if kind != "other":
                start = position + 1
        elif character == "}" and kinds:
            kind = kinds.pop()
            if kind == "function":
                name, first_line, _ = open_function
                found.append(Function(name, first_line, text.count("\n", 0, position) + 1))
            if kind != "other":
                start = position + 1
    return found


def initialises_member(head):
    """Whether the brace after `head` is a value (`a_{1}` in a constructor's list, `= {`, `x{}`), not a body."""
    last = head.rstrip()
    if last.endswith(("=", ",", "return")):
        return True
    after = last[last.rfind(")") + 1 :]
    if re.match(r"\s*(const|noexcept|override|final|mutable|try|&&?|->|\b[A-Z_]+\b|\s)*$", after):
        return False
    if "->" in after:  # a trailing return type
        return False
    # `Type(int a) : base_(a), value_` before `{a}`: a member's name stands last.
    return bool(re.search(r"[,:]\s*\w+$", last)) or ")" not in last
