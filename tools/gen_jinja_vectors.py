#!/usr/bin/env python3
"""Writes tests/vectors/jinja.json: templates of our own with what Python's Jinja2 makes of them.

Every construct of the template language has a case here. The environment is the one that
transformers sets up for chat templates. Needs PyPI jinja2 (3.1).
"""
import datetime
import json
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {
    "items": [{"name": "oak", "age": 3, "tags": ["a", "b"]}, {"name": "Elm", "age": 12}, {"name": "ash", "age": 3}],
    "word": "Wald", "text": "first line\nsecond\n\nlast", "mixed": "ÄpFel straße", "n": 7, "half": 2.5, "yes": True,
    "nothing": None, "empty": [], "map": {"b": 1, "A": [2.0, None], "c": {"d": "é\n\"q\""}},
    "messages": [{"role": "system", "content": " Rules. "}, {"role": "user", "content": "Hi\n"},
                 {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"}],
}

# One case a line; \n is a newline of the template, \\ a backslash.
CASES = r"""
{{ word }} {{ n }} {{ half }} {{ yes }} {{ nothing }} {{ empty }} {{ map }} [{{ absent }}]
{% if n > 5 and not yes == false %}big{% elif n %}small{% else %}none{% endif %}
{% if absent is defined %}a{% else %}b{% endif %}{% if nothing is none %}c{% endif %}
{% for i in items %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}:{{ i.name }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}{% for k in map %}{{ k }}{% endfor %}
{% for i in items if i.age == 3 %}{{ i.name }} {{ loop.length }} {% else %}no{% endfor %}{% for i in [] %}{% else %}empty{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for i in range(10) %}{% if i == 3 %}{% continue %}{% endif %}{% if i > 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in items recursive %}{{ i.name }}{{ loop(i.kids) if i.kids }}{{ loop.depth }} {% endfor %}
{% for i in 'abc' %}{{ loop.previtem }}{{ i }}{{ loop.nextitem }}|{% endfor %}{% for i in items %}{{ loop.revindex }}{{ loop.cycle('x','y') }}{{ loop.changed(i.age) }}{% endfor %}
{% set x = 1 %}{% for i in items %}{% set x = x + i.age %}{{ x }} {% endfor %}{{ x }}
{% set ns = namespace(sum=0, name='t') %}{% for i in items %}{% set ns.sum = ns.sum + i.age %}{% endfor %}{{ ns.sum }}{{ ns.name }}{{ ns.absent is defined }}
{% set a, b = items[0].name, 2 %}{{ a }}{{ b }}{% set block | upper %} in {{ word }} {% endset %}[{{ block }}]
{% macro box(t, left='[', right=']') %}{{ left }}{{ t }}{{ right }}{% endmacro %}{{ box(word) }}{{ box('x', right='>') }}{{ box(t=1, left='(') }}
{% macro all(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ all(1, 2, k=3) }}{% macro down(n) %}{{ n }}{{ down(n - 1) if n > 0 }}{% endmacro %}{{ down(3) }}
{% macro wrap() %}<{{ caller('c') }}>{% endmacro %}{% call(x) wrap() %}{{ x }}{{ word }}{% endcall %}
{% filter upper | replace('L', 'l') %}a {{ word }}{% endfilter %}{% with q = n, r = q %}{{ q }}{{ r }}{% endwith %}{{ q }}
{% generation %}g{{ n }}{% endgeneration %}{% raw %}{{ raw }} {% if %}{% endraw %}{# comment #}.
a   {%- if yes -%}   b   {%- endif -%}   c {{- word -}} d
line\n  {% if yes %}\n  in\n  {% endif %}\nout\n
  {%+ if yes +%}\nkeep{% endif %}
x\r\ny\r{{ 'a\\nb' }}\n\n
{{ 1 + 2 * 3 - 4 // 2 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 7.5 % 2 }} {{ 1e3 }} {{ 0x1f + 0b11 + 0o17 + 1_000 }}
{{ 'a' + 'b' ~ 1 ~ none }} {{ 'ab' * 2 }} {{ [1] * 2 + [3] }} {{ (1,) + (2,) }} {{ not n }} {{ n == 7.0 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}
{{ 1 < n <= 7 }} {{ 1 < n < 5 }} {{ n in [7] }} {{ 'al' in word }} {{ 'x' not in word }} {{ 'b' in map }} {{ 3 in range(5) }} {{ absent == none }}
{{ '' or 'x' }} {{ n and word }} {{ nothing or absent or 0 }} {{ 'y' if yes else 'n' }} [{{ 'y' if not yes }}]
{{ word[0] }}{{ word[-1] }}{{ word[1:3] }}{{ word[::-1] }} {{ items[1:]|length }} {{ [1,2,3,4][::2] }} {{ [1,2,3][-2:] }} {{ mixed[1:6] }} {{ mixed|length }} {{ (1,2,3)[:-1] }}
{{ map.b }} {{ map['A'] }} {{ map.c.d }} {{ map.get('x', 'd') }} {{ map.get('x') }} {{ items.0.name }} {{ map.absent is defined }} {{ nothing.x is defined }}
{{ [1, 'a', 2.0, none, true, {'k': (1,)}, 'it\\'s'] }} {{ {1: 'x', none: 2} }} {{ () }} {{ 'tab\\t\\x00é\\u200b' }} {{ ['\\t\\x00é\\u200b"'] }}
{{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1e-5 }} {{ 1.5e300 * 1e10 }} {{ -0.0 }} {{ 100000.0 }} {{ 3.0 }}
{{ map|tojson }} {{ map|tojson(indent=2) }} {{ mixed|tojson(ensure_ascii=true) }} {{ map|tojson(sort_keys=true, separators=(',', ':')) }} {{ [[], {}, 1.0]|tojson(indent=1) }}
{{ word|upper }}{{ word|lower }}{{ 'ab cd'|title }}{{ 'aB'|capitalize }} [{{ '  x '|trim }}] [{{ 'xxaxx'|trim('x') }}] {{ mixed|upper }} {{ mixed|lower }}
{{ items|map(attribute='name')|join(', ') }} {{ items|map(attribute='tags', default=[])|list }} {{ ['a', 'b']|map('upper')|list }} {{ [1, 2]|map('string')|join('+') }}
{{ items|selectattr('age', 'equalto', 3)|map(attribute='name')|list }} {{ items|rejectattr('tags')|list|length }} {{ items|selectattr('tags', 'defined')|list|length }} {{ [1,2,3]|select('odd')|list }} {{ [1,2,3]|reject('gt', 1)|list }}
{{ [3,1,2]|sort }} {{ ['b','A','a']|sort }} {{ ['b','A']|sort(case_sensitive=true, reverse=true) }} {{ items|sort(attribute='age')|map(attribute='name')|list }} {{ map|dictsort }} {{ map|dictsort(reverse=true)|first }} {{ {'a': 2, 'b': 1}|dictsort(by='value') }}
{{ [1,1,2]|unique|list }} {{ ['a','A']|unique|list }} {{ [3,1]|min }}{{ [3,1]|max }}{{ [3,1]|sum }}{{ [3,1]|first }}{{ [3,1]|last }}{{ [3,1]|reverse|list }} {{ word|reverse }} {{ items|groupby('age')|length }} {{ items|sum(attribute='age') }}
{{ text|indent }}|{{ text|indent(2, first=true) }}|{{ text|indent(1, blank=true) }}|{{ text|replace('line', 'L') }}|{{ 'aaa'|replace('a', 'b', 2) }}
{{ absent|default('d') }} {{ ''|default('d') }} {{ ''|default('d', true) }} {{ absent|d }} {{ '42'|int }} {{ '4.7'|int }} {{ 'x'|int(5) }} {{ '2.5'|float }} {{ 2.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ -3|abs }} {{ n|string ~ 'x' }}
{{ [1,2,3]|batch(2)|list }} {{ [1,2,3]|slice(2)|list }} {{ 'a b c'|wordcount }} {{ 'abcdefghijkl'|truncate(6, true, '..', 0) }} {{ 'a'|center(5) }}| {{ '%s-%03d'|format('a', 7) }} {{ 'abc'|list }} {{ map|items|list }} {{ map|length }}
{{ ' a b '.strip() }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ 'xay'.strip('xy') }}|{{ 'a,b,,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ ' a  b '.split() }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a b c'.rsplit(none, 1) }}{{ 'l1\\nl2'.splitlines() }}
{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}|{{ messages[2].content.split('</think>')[0].split('<think>')[-1].strip() }}|{{ messages[0].content|trim }}
{{ word.startswith('Wa') }}{{ word.endswith(('x', 'd')) }}{{ word.find('l') }}{{ word.rfind('x') }}{{ word.index('a') }}{{ 'aXa'.count('a') }}{{ word.replace('a', 'o') }}{{ ', '.join(['a', 'b']) }}{{ word.upper() }}{{ word.lower() }}{{ 'a b'.title() }}{{ 'ab'.capitalize() }}{{ 'aB'.swapcase() }}
{{ '{} {1}'.format('a') if false }}{{ '{} {}'.format(1, 'b') }} {{ '{1}{0}{n:>4}|{x:.2f}|{s!r}'.format('a', 'b', n=5, x=2.0, s='q') }} {{ '%s %r %5.1f %x' % ('a', 'b', 2.25, 255) }} {{ '%d%%' % 5 }}
{{ 'a1'.isalnum() }}{{ '1'.isdigit() }}{{ 'é'.isalpha() }}{{ ' '.isspace() }}{{ 'A'.isupper() }}{{ 'a'.islower() }} {{ '7'.zfill(3) }}{{ 'a'.center(4, '*') }}{{ 'a'.ljust(3, '.') }}{{ 'a'.rjust(3) }} {{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }} {{ 'pre-x'.removeprefix('pre-') }}{{ 'x.t'.removesuffix('.t') }}
{{ map.keys()|list }}{{ map.values()|list|length }}{{ map.items()|list|length }} {{ map.copy() == map }} {{ [1,2,1].count(1) }}{{ [1,2].index(2) }} {{ dict(a=1, **{'b': 2}) }} {{ dict.fromkeys('ab', 0) }}
{{ n is number }}{{ n is integer }}{{ half is float }}{{ yes is boolean }}{{ word is string }}{{ map is mapping }}{{ items is iterable }}{{ items is sequence }}{{ map is sequence }}{{ 5 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 'a' is lower }}{{ 'A' is upper }}{{ n is eq 7 }}{{ n is ne 7 }}{{ n is gt 5 }}{{ n is ge(7) }}{{ n is lt 5 }}{{ n is le 7 }}{{ 'a' is in ['a'] }}{{ yes is true }}{{ yes is false }}{{ yes is sameas true }}{{ namespace is callable }}{{ absent is undefined }}{{ 'upper' is filter }}{{ 'odd' is test }}
{{ range(3)|list }}{{ range(5, 0, -2)|list }}{{ range(1, 4) }} {% set j = joiner('-') %}{{ j() }}a{{ j() }}b{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.current }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %Y %A %B %j') }}
{{ '<a&"b\\'>'|e }} {{ 'x'|safe }} {{ 'a' 'b' "c" }} {{ '\\x41\\u00e9\\101' }}
{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{{ m.content|trim }}{% endfor %}{% if add_generation_prompt %}x{% endif %}
{% for i in items %}{{ loop.index }}{% if loop.index != 2 %}!{% endif %}{{ items[loop.index0].name }}{% endfor %} {{ items[1].name != 'Elm' }} {{ [1,2,3][16384] is defined }}
{%- set k = 2 -%} {{ word[:k] }} {{ word[k:] }} {{ word[:n - 4] }} {{- word[k] }} {#- gone -#}  .
{{ "say \\"it\\" and 'so'" }} {{ 'two\nlines' }} {{ 'a\\n\\n'.rstrip('\\n') }} {{ text|indent(8) }} {{ items|rejectattr('age', 'equalto', 3)|map(attribute='name')|list }}
{{ raise_exception('no: ' ~ n) }}
{{ absent.x }}
{{ word + n }}
{{ items|nosuch }}
{{ word is nosuch }}
{{ 1 // 0 }}
{{ word.nosuch() }}
{{ [1][::0] }}
{% for a, b in [[1]] %}{% endfor %}
{% set map.x = 1 %}
{{ range(1000000) }}
{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}
{{ none|length }}
{{ [1, 'a']|sort }}
{{ '' .__class__.__mro__ }}
{% if %}{% endif %}
{% if yes %}
{{ 'open }}
{{ 1 + }}
{% nosuch %}
{{ {'a': 1 }}
{% raw %}x
{# open
""".strip("\n").split("\n")


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(lineno)

    def _body(self, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    now = datetime.datetime(2026, 11, 22, 12, 0, 0)
    env.globals.update(raise_exception=raise_exception, strftime_now=now.strftime)
    return env


def main():
    out = []
    for case in CASES:
        template = "\\".join(p.replace("\\r", "\r").replace("\\n", "\n") for p in case.split("\\\\"))
        row = {"template": template}
        try:
            row["rendered"] = environment().from_string(template).render(**CONTEXT)
        except Raised as e:
            row.update(error=str(e), kind="raise_exception")
        except Exception as e:  # whatever Python raises is an error for us too
            row.update(error=str(e), kind=type(e).__name__)
        out.append(row)
    path = sys.argv[1] if len(sys.argv) > 1 else "tests/vectors/jinja.json"
    with open(path, "w") as f:
        json.dump({"context": CONTEXT, "cases": out}, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(f"{len(out)} cases, {sum('error' in r for r in out)} of them errors")


if __name__ == "__main__":
    main()
