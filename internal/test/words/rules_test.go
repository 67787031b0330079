//go:build !race

package words

import "regexp"

// rule is a word or a construction that this project does not write.
type rule struct {
	find   *regexp.Regexp
	unless *regexp.Regexp // a hit that matches this too is no finding
	say    string         // what to write instead
	bad    string         // a sentence that the rule must find
	good   string         // the same in plain words
}

func word(expr string) *regexp.Regexp { return regexp.MustCompile(`(?i)\b(?:` + expr + `)\b`) }

func exact(expr string) *regexp.Regexp { return regexp.MustCompile(expr) }

// rules are all rules: first the retired words, then the constructions.
var rules = append(retired, constructions...)

var retired = []rule{
	{find: word(`census(es)?`), say: "summary",
		bad: "The census counts jobs.", good: "The summary counts jobs."},
	{find: word(`rush(es|ed)?`), say: "expiring first",
		bad: "In a rush, the restorer sorts.", good: "The outputs that are expiring first come first."},
	{find: word(`lookaside`), say: "account cache",
		bad: "The lookaside has the role.", good: "The account cache has the role."},
	{find: word(`strays?|strayed`), say: "failover",
		bad: "A stray connection moves.", good: "A failover moves the connection."},
	{find: word(`keeps? of sessions`), say: "TTL store",
		bad: "The keep of sessions is a bucket.", good: "The TTL store is a bucket."},
	{find: word(`notice ?boards?`), say: "shared pace",
		bad: "The notice board says when to ask.", good: "The shared pace says when to ask."},
	{find: word(`rulings?`), say: "the retry table, or its row",
		bad: "The ruling is Bulk.", good: "The retry table says Bulk."},
	{find: word(`bury|buries|buried|burial`), say: "dead-letter; write, send or move to DEAD",
		bad: "The worker buries the message.", good: "The worker dead-letters the message."},
	{find: exact(`\bledgers?\b`), say: "the budgets, or the table gas-plans",
		bad: "The ledger has the spending.", good: "The budgets have the spending."},
	{find: word(`(a|an|the|this|each|every|one|our|own) (test ?)?bed`), say: "fixture",
		bad: "The bed starts NATS.", good: "The fixture starts NATS."},
	{find: word(`(a|an|the|each|every|one|of|late|these|those|lost|doubled|same|first|its|no|any) notices?`), say: "notification",
		bad: "A notice may come twice.", good: "A notification may come twice; no test sees it."},
}

var constructions = []rule{
	{find: word(`whose`), say: "write a second sentence, or “with its”",
		bad: "A job whose owner left waits.", good: "A job waits if its owner left."},
	{find: word(`of it`), say: "write the name",
		bad: "The first part of it is up.", good: "The first part of the file is up. Its size is known."},
	{find: word(`of which`), say: "write a second sentence with the name",
		bad: "A stream, the messages of which are gone.", good: "A stream without messages."},
	{find: word(`that (it|they) (is|are) of`), say: "write the name",
		bad: "The user that it is of.", good: "The job's user."},
	{find: word(`that which`), say: "write the name",
		bad: "It deletes that which is proven.", good: "It deletes the proven file."},
	{find: word(`as a rule`), say: "mostly, usually, or nothing",
		bad: "As a rule, it waits.", good: "It usually waits."},
	{find: word(`on the strength of`), say: "because of",
		bad: "It deletes on the strength of a proof.", good: "It deletes because there is a proof."},
	{find: word(`there is no use`), say: "it does not help to",
		bad: "There is no use in waiting.", good: "It does not help to wait."},
	{find: word(`(go|goes|going|went) by`), say: "use, follow, or depend on",
		bad: "The worker goes by the answer.", good: "The worker follows the answer. Time goes on."},
	{find: word(`(is|are|was|were) to be`), say: "must, or will",
		bad: "The file is to be copied.", good: "The file must be copied."},
	{find: word(`in hand`), say: "in flight, or received and not settled",
		bad: "A worker has ten messages in hand.", good: "A worker has ten messages in flight."},
	{find: word(`(is|are|was|were|be|been|being|has|have|had|not|and|never|is then|it) looked at|looked at (once|again|first|twice|anew|only|every)|looked at`), say: "read, or checked",
		bad: "The list is looked at twice.", good: "The list is read twice."},
	{find: word(`(stand|stands|stood|standing) for`), say: "means, is, or represents",
		bad: "A header stands for the attempts.", good: "A header has the attempts."},
	{find: word(`by (itself|themselves)`), say: "automatically, alone, or nothing",
		bad: "The plan continues by itself.", good: "The plan continues automatically."},
	{find: word(`(is|are|was|were|be|been) (not |never |also |only )?asked for`), say: "requested",
		bad: "An archive is asked for once.", good: "An archive is requested once."},
	{find: word(`mend|mends|mended|mending`), say: "fix, or repair",
		bad: "An operator mends the queue.", good: "An operator fixes the queue."},
	{find: exact(`(?:^|[.!?] |; )(?:[Ww]hat|[Ww]ho)(?:ever)? [^.!?;]*[^.!?; ](?:[.;](?: |$)|\?)`), unless: exact(`\?$|\bWhat (?:is|names|are) `),
		say: "no clause as a subject: begin with the thing that acts",
		bad: "What a worker gives up goes to DEAD.", good: "A worker sends it to DEAD. What is a plan? What it does"},
	{find: exact(`(?:^|[.!?] |; )(?:[Ww]hat|[Ww]ho)(?:ever)? [^.!?;]*\b(?:is|are|was|were|goes|go|has|have|gets|comes|stays|does|do|must|may|can|will|needs|takes|makes|keeps|costs|dies|counts)\b [^.!?;]*\b(?:is|are|was|were|goes|go|has|have|gets|comes|stays|does|do|must|may|can|will|needs|takes|makes|keeps|costs|dies|counts)\b[^.!?;]*(?:$|\?)`), unless: exact(`\?$`),
		say: "no clause as a subject: begin with the thing that acts",
		bad: "what is not there must be made", good: "make what is not there"},
	{find: exact(`(?:^|[.!?] |; )[Tt]hat (?:the|a|an|it|they|he|each|every|no|nothing|nobody|all|its|some|both|two|one [a-z]+ (?:is|was|has)) [^.!?;]* (?:is|are|says|means|shows|does|has|was|must|may|can|costs|proves)\b`),
		say: "no clause as a subject: begin with the thing that acts",
		bad: "That the queue is empty says nothing.", good: "An empty queue says nothing. That is why it waits."},
}
