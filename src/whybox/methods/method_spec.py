"""What the library knows of a method before it loads it: strings only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

from whybox.errors import OptionError, quoted_list

__all__ = ["FAMILIES", "NEEDS", "QUESTIONS", "MethodSpec", "Option"]

FAMILIES: Final = ("shap", "effects", "interactions", "regions", "importance", "lime", "anchors", "saliency")
NEEDS: Final = (
    "trees",
    "linear",
    "additive",
    "predict",
    "gradients",
    "layer",
    "named layer",
    "y",
    "background",
    "train",
)
# what a method of importance measures, by which sentences of an agreement are chosen: the loss without a feature, whatever the others; given the others; of a model
# trained without it; how far predictions move; what was gained in training; "": something else
QUESTIONS: Final = ("", "loss", "given_others", "refit", "size", "gain")


@final
@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """What the library knows of a method before it loads it.

    Attributes:
        id: what the user types; unique within its family. family: one of FAMILIES.
        title: the method in words, as evidence, figures and reports show it.
        summary: one sentence without a full stop: what the numbers are.
        reference: where the method was published.
        run: ``"module:name"`` of what computes it. shap: a class of explainers; effects: a class of methods/effects/kinds.py; interactions, regions,
            importance: a function of the problem; lime, anchors: a class of explainers;
            saliency: the frozen dataclass that is both the options and the method.
        options: ``"module:Dataclass"``, a frozen dataclass of the method's options; empty: it has none of its own.
        option_names: of a family that has one dataclass for all its methods, the options that this one takes; empty: all.
        plan: ``"module:function"`` of what says its cost beforehand; empty: its family knows, or nothing can be said.
        needs: what it cannot do without, of NEEDS (layer: one with channels and positions; named layer: the one that its numbers are of). takes: what it can use besides, of NEEDS.
        estimand: what the numbers estimate, or what "absent" means; empty where that depends on the options.
        quantity: what one number is, as the axis of a figure says it.
        exact: whether the numbers are exact for what was asked. signed: whether they have a sign about zero.
        additive: whether they add up to the prediction less the base.
        question: of importance, what it measures, of QUESTIONS.
        figures: names of the figures that draw the result (explanation/figures.py).
        section: anchor of the section of the report that shows it; None: no section. command: command of ``whybox`` that computes it; None: none.
        cost: what a row costs, in words, for the docs.
    """

    id: str
    family: str
    title: str
    summary: str
    reference: str
    run: str
    needs: tuple[str, ...] = ("predict",)
    takes: tuple[str, ...] = ()
    estimand: str = ""
    options: str = ""
    option_names: tuple[str, ...] = ()
    plan: str = ""
    quantity: str = "attribution"
    exact: bool = True
    signed: bool = True
    additive: bool = False
    question: str = ""
    figures: tuple[str, ...] = ()
    section: str | None = None
    command: str | None = None
    cost: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise OptionError(
                f"family={self.family!r} of method {self.id!r} is not known; families are {quoted_list(FAMILIES)}."
            )
        if self.question not in QUESTIONS:
            raise OptionError(
                f"method {self.id!r}: question={self.question!r} is not known; it is one of {quoted_list(QUESTIONS)}."
            )
        for name in (*self.needs, *self.takes):
            if name not in NEEDS:
                raise OptionError(f"method {self.id!r}: {name!r} is not among what methods need: {quoted_list(NEEDS)}.")
        for name in (self.run, *(n for n in (self.options, self.plan) if n)):
            if name.count(":") != 1:
                raise OptionError(f"method {self.id!r}: {name!r} must read 'module:name'.")

    @property
    def explains_layer(self) -> bool:
        """Whether its numbers are those of a layer of a network, not of its inputs."""
        return "named layer" in self.needs

    @property
    def method_id(self) -> str:
        """The id that evidence keeps, unique in the library: ``"effects.ale"``."""
        return f"{self.family}.{self.id}"

    def evidence_fields(self) -> dict[str, Any]:
        """Return the fields of evidence that every result of this method has."""
        return {
            "method": self.title,
            "method_id": self.method_id,
            "quantity": self.quantity,
            "signed": self.signed,
        }


@final
@dataclass(frozen=True)
class Option:
    """One option of a method, as the command line and the docs show it.

    Attributes:
        name: of the field. kind: its type as written. default: its default; MISSING where there is none. help: what it does. choices: its values, if they are few.
    """

    name: str
    kind: str
    default: Any
    help: str = ""
    choices: tuple[Any, ...] = ()
