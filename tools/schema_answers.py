#!/usr/bin/env python3
"""Answers of a real model under JSON schemas with required fields, judged by PyPI `jsonschema`.

usage: schema_answers.py -m MODEL [--holdfast build/holdfast] [--prompts 100] [--predict 320] [-v]

Each prompt is asked once with `holdfast run --json-schema`, sampled at temperature 0.7 with its number
as the seed. Prints how many answers ended by themselves, how many of those are valid JSON of their
schema, and how many were cut by --predict; exit 1 unless all are valid and at most 5 % were cut.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def obj(required, optional=None, **more):
    return {"type": "object", "properties": {**required, **(optional or {})},
            "required": list(required), "additionalProperties": False, **more}


def text(most=60):
    return {"type": "string", "minLength": 1, "maxLength": most}


CITY = obj({"name": text(40), "country": text(40)}, {"population": {"type": "integer", "minimum": 0}})
SCHEMAS = {
    "person": (obj({"name": text(40), "age": {"type": "integer", "minimum": 0, "maximum": 120},
                    "city": CITY}, {"email": {"type": "string", "format": "email", "maxLength": 40}}),
               "Invent a person who {}."),
    "recipe": (obj({"title": text(), "minutes": {"type": "integer", "minimum": 1, "maximum": 600},
                    "ingredients": {"type": "array", "minItems": 2, "maxItems": 6, "items": obj(
                        {"name": text(30), "amount": {"type": "number", "exclusiveMinimum": 0,
                                                      "maximum": 5000}},
                        {"unit": {"enum": ["g", "ml", "piece", "spoon"]}})}}),
               "Give me a recipe for {}."),
    "review": (obj({"sentiment": {"enum": ["positive", "neutral", "negative"]},
                    "score": {"type": "number", "minimum": 0, "maximum": 1}, "reason": text(120)}),
               "What does somebody feel who writes this: {}"),
    "event": (obj({"title": text(), "date": {"type": "string", "format": "date"},
                   "code": {"type": "string", "pattern": "^[A-Z]{2,4}-[0-9]{3}$"},
                   "tags": {"type": "array", "items": text(20), "maxItems": 4},
                   "public": {"type": "boolean"}}, {"note": {"type": ["string", "null"], "maxLength": 80}}),
              "Plan an event: {}."),
    "step": (obj({"action": {"anyOf": [
        obj({"kind": {"const": "read"}, "path": text(50)}),
        obj({"kind": {"const": "run"}, "command": text(60)}, {"timeout": {"type": "integer", "minimum": 1,
                                                                          "maximum": 600}})]},
        "why": text(100)}), "You are a coding agent. What is your next step to {}?"),
}
THINGS = {
    "person": ["repairs clocks", "lives by the sea", "teaches maths", "plays the cello", "sells flowers",
               "drives a tram", "writes novels", "keeps bees", "studies whales", "bakes bread",
               "builds boats", "paints walls", "runs a school", "climbs mountains", "grows apples",
               "fixes cars", "dances tango", "draws maps", "cooks noodles", "collects stamps"],
    "recipe": ["pancakes", "tomato soup", "fried rice", "apple pie", "lentil stew", "pizza", "hummus",
               "potato salad", "omelette", "curry", "bread", "pasta", "tea", "tacos", "porridge",
               "ratatouille", "dumplings", "a sandwich", "ice cream", "roast carrots"],
    "review": ["I loved it.", "Never again!", "It works.", "Broken on arrival.", "Best day ever.",
               "It is fine, I guess.", "Too loud.", "What a lovely gift.", "The bus was late again.",
               "My \"new\" phone is dead.", "Das war großartig!", "Meh.", "Five stars.", "Horrible food.",
               "As described.", "I cried with joy.", "Too expensive.", "Good, not great.",
               "Would buy again.", "I want my money back."],
    "event": ["a chess evening", "a street market", "a bicycle tour", "a reading", "a code sprint",
              "a concert in a park", "a repair cafe", "a job fair", "a science talk", "a film night",
              "a marathon", "a wedding", "a flea market", "a picnic", "a garden party", "a boat trip",
              "a cooking class", "a quiz", "an exhibition", "a summer school"],
    "step": ["fix a failing test", "rename a function", "find a memory leak", "add a flag", "update the README",
             "bisect a regression", "format the code", "list all TODO notes", "write a unit test",
             "build the project", "read the log", "count the lines of code", "remove dead code",
             "profile the parser", "upgrade a dependency", "check the style", "print the version",
             "make a release", "clean the build folder", "explain the Makefile"],
}


def answer(args, schema_file, prompt, seed):
    done = subprocess.run(
        [args.holdfast, "run", "-m", args.model, "--json-schema", schema_file, "-n", str(args.predict),
         "-c", "2048", "--temp", "0.7", "--seed", str(seed), "-p", prompt],
        capture_output=True, text=True, errors="surrogateescape", timeout=600)
    if done.returncode:
        sys.exit(f"{prompt!r}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout, "end of answer" not in done.stderr


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("-m", "--model", required=True)
    ap.add_argument("--holdfast", default=str(ROOT / "build" / "holdfast"))
    ap.add_argument("--prompts", type=int, default=100)
    ap.add_argument("--predict", type=int, default=320)
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    import jsonschema
    n_ended = n_valid = n_cut = 0
    with tempfile.TemporaryDirectory() as tmp:
        for i in range(args.prompts):
            kind = list(SCHEMAS)[i % len(SCHEMAS)]
            schema, ask = SCHEMAS[kind]
            things = THINGS[kind]
            prompt = ask.format(things[i // len(SCHEMAS) % len(things)])
            path = pathlib.Path(tmp, kind + ".json")
            path.write_text(json.dumps(schema))
            out, cut = answer(args, str(path), prompt, i)
            n_cut += cut
            if not cut:
                n_ended += 1
                try:
                    jsonschema.validate(json.loads(out), schema,
                                        format_checker=jsonschema.FormatChecker())
                    n_valid += 1
                except (ValueError, jsonschema.ValidationError) as e:
                    print(f"INVALID {kind} {prompt!r}: {out!r}: {str(e)[:300]}")
            if args.verbose or cut:
                print(f"{'cut' if cut else 'ended'} {kind} {prompt!r}: {out!r}", flush=True)
    print(f"{args.model}: {args.prompts} prompts, {n_ended} ended by themselves, {n_valid} of those "
          f"valid, {n_cut} cut by length")
    return 0 if n_valid == n_ended and n_cut * 20 <= args.prompts else 1


if __name__ == "__main__":
    sys.exit(main())
