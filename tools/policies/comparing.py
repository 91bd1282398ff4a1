"""May this policy allow what another does not? Said from their texts alone, so rather once too often. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from tools.policies.values import Flow, Outcome, Policy, Rule
from tools.values import Risk

# What they cover they refuse, so that nothing broader can be outvoted to any good.
_REFUSING = (Outcome.DENY, Outcome.READ_ONLY)
_THRESHOLDS = {
    "ask_from": "A person is asked only from {risk} risk on",
    "four_eyes_from": "Four eyes are needed only from {risk} risk on",
    "notify_from": "People are notified only from {risk} risk on",
}


def why_weaker(new: Policy, old: Policy) -> list[str]:
    """A sentence for each difference by which `new` may be the weaker one; none: it is at least as strict.

    What can only tighten is no reason: a rule more that denies, a rule that is stricter than it was and otherwise the
    same, a lower threshold. A rule more of another outcome may outvote a broader one that is stricter, or asks more or
    other people.
    """
    return [*_of_thresholds(new, old), *_of_windows(new, old), *_of_rules(new, old)]


def differences(new: Policy, old: Policy) -> list[str]:
    """Everything by which `new` is another than `old`, a sentence each; none: they say the same."""
    return [*_thresholds_changed(new, old), *_rules_changed(new, old), *_windows_changed(new, old)]


def _thresholds_changed(new: Policy, old: Policy) -> Iterator[str]:
    for name, sentence in _THRESHOLDS.items():
        if (now := getattr(new, name)) != (was := getattr(old, name)):
            yield f"{sentence.format(risk=now)}, not from {was}."
    if new.flow != old.flow:
        made = "refused" if new.flow == Flow.DENY else "asked about"
        yield f"Acts on content that nobody vouches for are {made}."


def _rules_changed(new: Policy, old: Policy) -> Iterator[str]:
    kept, before = ({rule.name: rule for rule in each.rules} for each in (new, old))
    for name, rule in kept.items():
        if name not in before:
            yield f"New: “{name}” ({_word(rule)}; {_about(rule)})."
        elif rule != before[name]:
            was = before[name]
            yield f"Changed: “{name}” ({_word(rule)}; {_about(rule)}), before: {_word(was)}; {_about(was)}."
    yield from (f"Gone: “{name}” ({_word(rule)}; {_about(rule)})." for name, rule in before.items() if name not in kept)


def _windows_changed(new: Policy, old: Policy) -> Iterator[str]:
    for name in sorted({*new.windows, *old.windows}):
        now, was = new.windows.get(name), old.windows.get(name)
        if now != was:
            yield f"The window {name} is {'gone' if now is None else 'new' if was is None else 'another than it was'}."


def _about(rule: Rule) -> str:
    where = f" where {rule.condition}" if rule.condition else ""
    until = f", until {rule.expires_at:%Y-%m-%d %H:%M}" if rule.expires_at else ""
    outside = f", outside {rule.window}" if rule.window else ""
    whom = f", {rule.approvers} of {rule.group or 'whoever may decide'}" if rule.approvers > 1 or rule.group else ""
    return f"{rule.scope.words()}{where}{outside}{whom}{until}"


def _of_thresholds(new: Policy, old: Policy) -> Iterator[str]:
    for name, sentence in _THRESHOLDS.items():
        risk: Risk = getattr(new, name)
        if risk.rank > getattr(old, name).rank:
            yield f"{sentence.format(risk=risk)}, not from {getattr(old, name)}."
    if new.flow == Flow.ASK and old.flow == Flow.DENY:
        yield "Acts on content that nobody vouches for are asked about, not refused."


def _of_windows(new: Policy, old: Policy) -> Iterator[str]:
    """Of those that a rule is about, by its window or in its condition."""
    for name in sorted(old.windows):
        if new.windows.get(name) != old.windows[name] and any(_names(rule, name) for rule in old.rules):
            yield f"The window {name}, which rules are about, is not what it was."


def _names(rule: Rule, window: str) -> bool:
    return rule.window == window or window in rule.condition


def _of_rules(new: Policy, old: Policy) -> Iterator[str]:
    kept = {rule.name: rule for rule in new.rules}
    before = {rule.name: rule for rule in old.rules}
    for name, rule in before.items():
        if name not in kept:
            if rule.outcome != Outcome.ALLOW:
                yield f"The rule “{name}” ({_word(rule)}) is gone."
        elif _loosened(kept[name], rule, old):
            now, was = _word(kept[name]), _word(rule)
            yield f"The rule “{name}” covers other calls than before, or is laxer ({was}, now {now})."
    strictest = max((rule.outcome.rank for rule in old.rules), default=0)
    for name, rule in kept.items():
        if name in before or rule.outcome in _REFUSING:
            continue
        if rule.outcome in (Outcome.ALLOW, Outcome.NOTIFY):
            yield f"The new rule “{name}” lets calls run ({rule.scope.words()})."
        elif rule.outcome.rank < strictest:
            yield f"The new rule “{name}” ({_word(rule)}) may outvote a broader one that is stricter."
        elif any(_asks_more(each, rule) for each in old.rules):
            yield f"The new rule “{name}” ({_word(rule)}) may ask fewer or other people than one that asks now."


def _loosened(now: Rule, was: Rule, old: Policy) -> bool:
    if _same(now, was):
        return False
    like_before = replace(now, outcome=was.outcome, approvers=was.approvers, group=was.group)
    if not _same(like_before, was) or now.outcome.rank < was.outcome.rank:
        return True
    if now.outcome == Outcome.READ_ONLY and was.outcome not in (Outcome.ALLOW, Outcome.READ_ONLY):
        return True  # what only reads is not covered any more
    if now.outcome == Outcome.DENY:
        return False
    return any(_asks_more(each, now) for each in old.rules)


def _asks_more(one: Rule, other: Rule) -> bool:
    """More people than the other does, or those of a group that the other may take the place of. Where the rule itself
    does not ask, nobody in particular is asked: of a call that waits for a window which never opens, anybody."""
    if one.outcome != Outcome.ASK:
        return False
    approvers, group = (other.approvers, other.group) if other.outcome == Outcome.ASK else (1, "")
    return one.approvers > approvers or one.group not in ("", group)


def _same(one: Rule, other: Rule) -> bool:
    return replace(one, says="") == replace(other, says="")


def _word(rule: Rule) -> str:
    return str(rule.outcome).replace("_", " ")
