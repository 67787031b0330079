package contract

// AWS is the name of the fixture of real AWS.
const AWS = "aws"

// Differences returns the steps of a fixture that the stand-in answers in another way, with the
// reason. A step that is here and does not differ is an error too, so that the list stays true.
//
// AWS's fixture has no difference that is meant to last: if AWS answers in another way, repair
// the stand-in.
func Differences(fixture string) map[string]string {
	out := map[string]string{}
	for why, steps := range differences[fixture] {
		for _, step := range steps {
			out[step] = why
		}
	}
	return out
}

// differences are the steps by the reason, for each fixture.
var differences = map[string]map[string][]string{
	AWS: {},
	"dynalite": {
		"it does not return the item of a failed condition": {"dynamodb: a NULL is there", "dynamodb: set under the same condition"},
		"it has no backups": {"dynamodb: describe the backups"},
		"it takes an empty string as an index's key, which AWS refuses": {"dynamodb: put an item with an empty string in an index"},
	},
	"versitygw": {
		"it has no lifecycle rules":                 {"s3: no lifecycle rules", "s3: set lifecycle rules", "s3: lifecycle rules"},
		"it has no notifications":                   {"s3: no notifications"},
		"it has no retrievals":                      {"s3: retrieve an archive", "s3: retrieve an archive again", "s3: retrieve a version that is not there", "s3: retrieve what is in STANDARD"},
		"it keeps every object as STANDARD":         {"s3: look at an archive", "s3: look at an archive on its way", "s3: list an archive", "s3: list an archive on its way", "s3: read an archive"},
		"it names the class STANDARD; AWS does not": {"s3: look at an object", "s3: look at an object without its checksum", "s3: look at what was completed"},
	},
	"moto": {
		"it makes up the checksum CRC-64/NVME, and compares none": {
			"s3: put with a wrong checksum", "s3: nothing is there after a wrong checksum", "s3: put", "s3: look at an object", "s3: read", "s3: a part with a wrong checksum",
			"s3: list the parts", "s3: complete with a wrong checksum", "s3: complete with another part", "s3: complete", "s3: look at what was completed", "s3: look at an archive",
		},
		"a retrieval is done at once, and each request begins another": {
			"s3: look at an archive on its way", "s3: list an archive on its way", "s3: retrieve an archive again", "s3: retrieve a version that is not there",
		},
		"it fails":                 {"s3: a part of an upload that is gone", "glacier: describe a retrieval that is not there", "glacier: the output of a retrieval that is not there", "glacier: delete an archive that is not there", "glacier: delete an archive again"},
		"a table is there at once": {"dynamodb: make a table"},
		"it says that the index, not the request, is wrong": {"dynamodb: query an index that is not there"},
		"it has names of its own for errors":                {"glacier: describe a vault that is not there", "glacier: the output of a retrieval on its way"},
		"it retrieves what is not there, in any tier":       {"glacier: retrieve an archive that is not there", "glacier: retrieve in a tier that is none", "glacier: retrieve an archive", "glacier: list no retrievals", "glacier: list a retrieval"},
		"it leaves out most of a retrieval and a vault":     {"glacier: describe a retrieval", "glacier: make a vault"},
		"it takes any token":                                {"sns: confirm with a token that is none"},
		"it forgets the version of the signature":           {"sns: the attributes of a topic"},
		"it takes any retention":                            {"sqs: set a retention that is too short", "sqs: the attributes of a queue"},
	},
}
