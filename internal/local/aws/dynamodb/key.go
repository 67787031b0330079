package dynamodb

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Limits of key values in bytes.
const (
	maxHashKey = 2048
	maxSortKey = 1024
)

// keyAttr is an attribute of a key: its name and type (S, N or B).
type keyAttr struct{ name, typ string }

// schema is the key of a table or an index. sort.name is empty if it has none.
type schema struct{ hash, sort keyAttr }

func (s schema) attrs() []keyAttr {
	if s.sort.name == "" {
		return []keyAttr{s.hash}
	}
	return []keyAttr{s.hash, s.sort}
}

func (s schema) has(name string) bool {
	return name == s.hash.name || s.sort.name != "" && name == s.sort.name
}

func (s schema) limit(a keyAttr) (what string, bytes int) {
	if a == s.hash {
		return "hashkey", maxHashKey
	}
	return "rangekey", maxSortKey
}

// The position of an item is a text that orders items as DynamoDB does: by a
// hash of the partition key (so a scan has no order to rely on), the partition
// key, the sort key. It is UTF-8, so that the journal can hold it, and no
// position is the beginning of another.

// position returns that of item, which has valid key attributes. ok is false if
// it lacks one: then it has no place in a sparse index.
func (s schema) position(item attrs) (_ string, ok bool) {
	h := item.get(s.hash.name)
	if h == nil {
		return "", false
	}
	p := partition(h)
	if s.sort.name == "" {
		return p, true
	}
	r := item.get(s.sort.name)
	if r == nil {
		return "", false
	}
	return p + sortable(r), true
}

// partition is how the positions of all items with this partition key begin.
func partition(h *value) string {
	text := sortable(h)
	f := fnv.New32a()
	f.Write([]byte(text))
	b := make([]byte, 0, 8+len(text))
	b = hex.AppendEncode(b, binary.BigEndian.AppendUint32(nil, scramble(f.Sum32())))
	return string(append(b, text...))
}

// scramble spreads h: its upper bits hardly depend on the last characters.
func scramble(h uint32) uint32 {
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

func sortable(v *value) string {
	if v.typ == "N" {
		return mustNumber(v.str).sortable()
	}
	return sortablePrefix(v) + "\x00"
}

var escapes = strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02")

// sortablePrefix is how sortable begins for every value that v is a prefix of.
func sortablePrefix(v *value) string {
	if v.typ == "B" {
		return hex.EncodeToString([]byte(v.str))
	}
	return escapes.Replace(v.str)
}

// above sorts after everything that has p as its beginning.
func above(p string) string { return p + "\xff" }

// checkItem refuses an item without a proper key.
func (s schema) checkItem(item attrs) *world.Error {
	for _, a := range s.attrs() {
		v := item.get(a.name)
		if v == nil {
			return invalid("One or more parameter values were invalid: Missing the key %s in the item", a.name)
		}
		if v.typ != a.typ {
			return invalid("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", a.name, a.typ, v.typ)
		}
		if err := s.checkValue(a, v); err != nil {
			return err
		}
	}
	return nil
}

func (s schema) checkValue(a keyAttr, v *value) *world.Error {
	if v.str == "" {
		kind := "string"
		if v.typ == "B" {
			kind = "binary"
		}
		return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", kind, a.name)
	}
	if what, limit := s.limit(a); len(v.str) > limit && v.typ != "N" {
		return invalid("One or more parameter values were invalid: Size of %s has exceeded the maximum size limit of%d bytes", what, limit)
	}
	return nil
}

// checkIndexed refuses an item that has an attribute of another type than index wants.
func (s schema) checkIndexed(item attrs, index string) *world.Error {
	for _, a := range s.attrs() {
		v := item.get(a.name)
		if v == nil {
			continue
		}
		if v.typ != a.typ {
			return invalid("One or more parameter values were invalid: Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", a.name, a.typ, v.typ, index)
		}
		if v.str == "" {
			kind := "string"
			if v.typ == "B" {
				kind = "binary"
			}
			return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: %s, IndexKey: %s", kind, index, a.name)
		}
		if what, limit := s.limit(a); len(v.str) > limit && v.typ != "N" {
			return invalid("One or more parameter values were invalid: Size of %s has exceeded the maximum size limit of%d bytes. IndexName: %s", what, limit, index)
		}
	}
	return nil
}

// checkKey refuses what is not exactly a key, as a request names an item by.
func (s schema) checkKey(key attrs) *world.Error {
	want := s.attrs()
	for _, a := range want {
		if v := key.get(a.name); v == nil || v.typ != a.typ {
			return invalid("The provided key element does not match the schema")
		}
	}
	if len(key) != len(want) {
		return invalid("The provided key element does not match the schema")
	}
	for _, a := range want {
		if err := s.checkValue(a, key.get(a.name)); err != nil {
			return err
		}
	}
	return nil
}

// keyOf returns the key attributes of item.
func (s schema) keyOf(item attrs) attrs {
	var out attrs
	for _, a := range s.attrs() {
		out = append(out, attr{a.name, *item.get(a.name)})
	}
	return out
}
