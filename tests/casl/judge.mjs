// Judges the lines that `keyward decide` takes by the real CASL: checks of rules in, one JSON line each out.
//
// `plain` is CASL's own answer: true, false, or null where CASL raises an error. `ours` is CASL's with the intended
// differences applied, and nothing else; it must be Keyward's answer. This is their list:
//
//   whole       a check without a field asks about the whole, unless `any_field` is set
//   order       an order between a number and a number or a text and a text; else it is unknown
//   placeholder a condition with a placeholder that does not resolve is unknown
//   error       where CASL raises an error, the condition is unknown
//
// Unknown never makes an allow apply, and never keeps a deny from applying.

import { createInterface } from 'node:readline';
import { buildMongoQueryMatcher, createMongoAbility } from '@casl/ability';
import { allInterpreters } from '@ucast/js';

const PLACEHOLDER = /\$\{[^}]*\}|\{\{.*?\}\}/s;
const ORDERS = {
  lt: (a, b) => a < b,
  lte: (a, b) => a <= b,
  gt: (a, b) => a > b,
  gte: (a, b) => a >= b,
};
// What only joins others: what is unknown is so within them.
const COMPOUND = new Set(['and', 'or', 'nor', 'not']);

const holdsPlaceholder = (value) => {
  if (typeof value === 'string') return PLACEHOLDER.test(value);
  if (value instanceof RegExp) return PLACEHOLDER.test(value.source);
  return Array.isArray(value) && value.some(holdsPlaceholder);
};

const areOrdered = (a, b) =>
  typeof a === typeof b && (typeof a === 'number' || typeof a === 'string');

// CASL's interpreters, except that what is unknown counts as `unknown` says.
const interpretersWith = (unknown) => {
  const wrapped = {};
  for (const [name, interpret] of Object.entries(allInterpreters)) {
    if (COMPOUND.has(name)) continue;
    wrapped[name] = (node, object, context) => {
      if (holdsPlaceholder(node.value)) return unknown;
      try {
        if (!ORDERS[name]) return interpret(node, object, context);
        const one = (value) =>
          areOrdered(value, node.value) ? ORDERS[name](value, node.value) : unknown;
        const value = context.get(object, node.field);
        return Array.isArray(value) ? value.some(one) : one(value);
      } catch {
        return unknown;
      }
    };
  }
  return wrapped;
};

const matchAllow = buildMongoQueryMatcher({}, interpretersWith(false));
const matchDeny = buildMongoQueryMatcher({}, interpretersWith(true));

// As the platform sorts, and without rules for roles: a key has none.
const inOrder = (rules) => {
  const rank = (rule) => rule.priority ?? -Infinity;
  const effect = (rule) => (rule.priority === undefined && rule.inverted ? 1 : 0);
  return rules
    .filter((rule) => rule.role === undefined)
    .sort((a, b) => (rank(a) === rank(b) ? effect(a) - effect(b) : rank(a) - rank(b)));
};

// The rules with CASL's reading of fields made into ours, for a check of the whole.
const ofTheWhole = (rules) =>
  rules.flatMap((rule) => {
    if (rule.fields === undefined) return [rule];
    const { fields, ...rest } = rule;
    return rule.inverted || fields.includes('**') ? [rest] : [];
  });

const can = (rules, check, conditionsMatcher) => {
  const ability = createMongoAbility(rules, {
    detectSubjectType: () => check.subject,
    ...(conditionsMatcher && { conditionsMatcher }),
  });
  return ability.can(check.action, check.resource, check.field || undefined);
};

const plain = (rules, check) => {
  try {
    return can(rules, check);
  } catch {
    return null;
  }
};

const ours = (rules, check) => {
  const denials = new Set(rules.filter((rule) => rule.inverted).map((rule) => rule.conditions));
  const matcher = (conditions) => {
    const unknown = denials.has(conditions);
    try {
      return (unknown ? matchDeny : matchAllow)(conditions);
    } catch {
      return () => unknown;
    }
  };
  const asksForWhole = !check.field && !check.any_field;
  return can(asksForWhole ? ofTheWhole(rules) : rules, check, matcher);
};

for await (const line of createInterface({ input: process.stdin })) {
  const { grants, check } = JSON.parse(line);
  const rules = inOrder(grants.rules);
  let answer;
  try {
    answer = { plain: plain(rules, check), ours: ours(rules, check) };
  } catch (error) {
    // Rules that CASL does not take at all; Keyward refuses to write such.
    answer = { plain: null, ours: null, error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
