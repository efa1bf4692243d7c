/**
 * Words and phrases that no text of this project uses, each with what to write instead.
 *
 * 1. Every entry has a rule, and every rule has a planted mistake in rules.test.ts.
 * 2. Code spans and quoted values are not read: names of codes and metrics stay as they are.
 */
import type { Finding, Passage } from "../passage.ts";
import type { Synonym } from "./glossary.ts";

interface Entry {
  readonly rule: string;
  readonly pattern: RegExp;
  readonly instead: string;
}

const entry = (rule: string, pattern: RegExp, instead: string): Entry => ({
  rule,
  pattern: everywhere(pattern),
  instead,
});

/** The pattern for all matches of a text. Made once: each of thousands of passages is read with it. */
function everywhere(pattern: RegExp): RegExp {
  return new RegExp(pattern, `${pattern.flags}g`);
}

/** Software does things that one can see in a log or an answer. */
const SOFTWARE: readonly Entry[] = [
  entry("software-verb", /\b(?:tell|tells|telling|told)\b/i, "log, return, report, show, detect"),
  entry("software-verb", /\b(?:say|says|said|saying)\b/i, "log, return, report, state, show"),
  entry(
    "software-verb",
    /\b(?:hear|hears|heard|forgive|forgives|forgiven|stumbles?|believed?)\b/i,
    "receive, accept, detect",
  ),
  entry("software-verb", /\b(?:knows|learns?|learnt|learned|sees)\b/i, "has, reads, gets, detects"),
];

const IDIOMS: readonly Entry[] = [
  entry(
    "nobody",
    /\b(?:nobody|somebody|everybody|anybody|whoever|whomever|whatever|whom|no one|someone|anyone|everyone)\b/i,
    "the person or part: an operator, a caller, no client",
  ),
  entry("idiom", /\bbesides?\b/i, "next to, and also, in addition to"),
  entry("idiom", /\b(?:go|goes|going|went) on\b/i, "continue"),
  entry("idiom", /\b(?:anew|afresh)\b/i, "again"),
  entry(
    "idiom",
    /\b(?:lest|hence|thus|thereof|therein|thereby|whereby|wherein|hereby|albeit|upon|hitherto|nought|ere)\b/i,
    "a short common word: so, by this, on",
  ),
  entry("idiom", /\b(?:is|are|was|were) to be \w+/i, "must be, is"),
  entry("idiom", /\b(?:but|save) for\b/i, "except"),
  entry("idiom", /\b(?:let|lets|letting) go\b/i, "drop, release"),
  entry("idiom", /\b(?:lies|lie|lying)\b/i, "is, are"),
  entry(
    "idiom",
    /\b(?:in earnest|in vain|of late|at hand|by and by|for good|under way|in the clear|on the way|at large)\b/i,
    "plain words",
  ),
  entry(
    "idiom",
    /\b(?:as yet|as it stands|as they stand|such as is|what is more|all the same|for all that)\b/i,
    "plain words",
  ),
  entry("idiom", /\b(?:has no need|is no \w+ at all|there is nothing)\b/i, "does not need, is not, has none"),
  entry(
    "metaphor",
    /\b(?:doors?|strangers?|storms?|ghosts?|two faces|housekeeping|the house|shepherds?|twins?|siblings?' word)\b/i,
    "the glossary's or the field's word",
  ),
  entry(
    "filler",
    /\b(?:simply|just|easy|easily|obviously|of course|clearly|trivial|trivially|actually|basically|merely|please)\b/i,
    "nothing: delete the word",
  ),
  entry(
    "contraction",
    /\b\w+n['’]t\b|\b(?:it|that|there|here|what|who|let)['’]s\b|\b(?:I|we|you|they)['’](?:re|ve|ll|d)\b/i,
    "the two words",
  ),
  entry(
    "latin",
    /\b(?:e\.\s?g|i\.\s?e|etc|cf|viz|ibid|et al|vs|a\.\s?k\.\s?a)\.|\b(?:vice versa|per se|ad hoc|a priori|vs)\b/i,
    "for example, that is, and so on, against",
  ),
  entry("plural", /\w\((?:s|es)\)/, "one form that agrees with the number"),
  entry("unit", /\b\d+(?:\.\d+)?m times\b|\btimes per second\b/i, "a rate that people use: 8.8 per minute"),
];

/** Sentences that begin in a way that a second-language reader has to take apart. */
const CONSTRUCTIONS: readonly Entry[] = [
  entry(
    "elliptical",
    /(?:^|[.;:] )(?:Null|None|Unset|Absent|Empty|Zero) (?:without|unless|where|when|if|for|before|until|after|at)\b/,
    "a sentence with a verb: It is null when …",
  ),
  entry(
    "fronted-of",
    /(?:^|[.;:] )Of (?:the|a|an|two|three|what|these|those|its|all|several|many|each|every|one)\b/i,
    "subject first",
  ),
  entry(
    "what-subject",
    /(?:^|[.;:] )(?:What|Whoever|Whatever|Who|Whom)\b(?![^.]*\?)/i,
    "a noun as the subject",
  ),
  entry(
    "one-subject",
    /(?:^|[.;] |\b(?:if|when|where|that|which|as|what|how|so) )one (?:is|has|does|can|may|must|will|sees|wants|needs|would|asks|gets|reads|cannot)\b/i,
    "you, or the noun",
  ),
];

/** Spelling of the United States. */
const SPELLING: readonly Entry[] = (
  [
    [/\bbehaviour\w*\b/i, "behavior"],
    [
      /\b\w*(?:colou|honou|favou|labou|neighbou|harbou|flavou|rumou|vigou|endeavou)r\w*\b/i,
      "-or: color, neighbor",
    ],
    [/\b(?:cent|lit|fib|theat)re[sd]?\b/i, "-er: center"],
    [/\b(?:licence|defence|offence|pretence)s?\b/i, "-se: license, defense"],
    [
      /\b(?:\w+(?:al|er|or|an|im|iz|il|on|gn|at|ut|ar|it|ym|ic|ist|ond|mar|thes|ent|ess|gan)|real|util|init|minim|maxim|optim|emphas|summar|recogn|organ|author|apolog)is(?:e|es|ed|ing|ation|ations|er|ers)\b/i,
      "-ize",
    ],
    [/\banaly(?:se[sd]?|sing)\b/i, "analyze"],
    [
      /\b(?:cancel|label|model|signal|travel|dial|channel|total|level|fuel|tunnel|equal|initial|panel|marshal|parcel|rival|pencil)l(?:ed|ing|er|ers)\b/i,
      "one l: canceled, labeled",
    ],
    [
      /\b(?:artefact|grey|whilst|amongst|learnt|burnt|spelt|towards|afterwards|backwards|programme|practise|judgement|acknowledgement|sceptical|cheque|tyre|plough|mould|manoeuvre|ageing|fulfil|enrol|instal|dialogue box|storey|kerb|aluminium|maths|cosy|quicker than)s?\b/i,
      "the US form",
    ],
  ] as const
).map(([pattern, instead]) => entry("us-spelling", pattern, instead));

/** Words that look British and are not. */
const US_TOO =
  /^(?:otherwise|precise|raise[sd]?|exercise[sd]?|promise[sd]?|promiser|surprise[sd]?|comprise[sd]?|advise[sd]?|revise[sd]?|revision|rise|rises|arise|arises|noise|wise|likewise|expertise|concise|compromise[sd]?|disguise[sd]?|enterprise|premise[sd]?|premises|supervise[sd]?|praise[sd]?|merchandise|paradise|improvise|treatise|demise|excise|incise|franchise|raising|promising|rising|advising|exercising|appraise|advertise[sd]?|advertising|clockwise|stepwise|pairwise|bitwise|elementwise|diagnosis|basis)$/i;

/** Characters of the text that a finding shows on either side. */
const AROUND = 50;

/**
 * Finds words that are not used here.
 *
 * @param passage - any passage.
 * @param synonyms - the glossary's column of words that are not used.
 * @returns one finding per word.
 */
export function checkVocabulary(passage: Passage, synonyms: readonly Synonym[]): readonly Finding[] {
  const { file, line, text, kind } = passage;
  const findings: Finding[] = [];
  const find = (rule: string, pattern: RegExp, instead: string): void => {
    for (const { 0: found, index } of text.matchAll(pattern)) {
      if (rule === "us-spelling" && US_TOO.test(found)) continue;
      const around = text.slice(Math.max(0, index - AROUND), index + found.length + AROUND);
      findings.push({ file, line, rule, found: `"${found.trim()}" in …${around}…`, instead });
    }
  };
  for (const { rule, pattern, instead } of [...SOFTWARE, ...IDIOMS]) find(rule, pattern, instead);
  if (kind !== "heading" && kind !== "cell")
    for (const { rule, pattern, instead } of CONSTRUCTIONS) find(rule, pattern, instead);
  for (const { rule, pattern, instead } of SPELLING) find(rule, pattern, instead);
  for (const { pattern, term } of synonyms) find("glossary", pattern, term);
  return findings;
}
