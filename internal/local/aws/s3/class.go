package s3

import (
	"net/http"
	"slices"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// The storage classes with objects that must be restored before they can be read.
const (
	glacierClass     = "GLACIER"
	deepArchiveClass = "DEEP_ARCHIVE"
	standardClass    = "STANDARD"
)

// classes are those that an object can be put in.
var classes = []string{
	standardClass, "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY", glacierClass, deepArchiveClass,
}

func isCold(class string) bool { return class == glacierClass || class == deepArchiveClass }

// setClass reads the class that a write asks for.
func (o *object) setClass(h http.Header) *world.Error {
	class := h.Get("X-Amz-Storage-Class")
	switch {
	case class == "" || class == standardClass:
		o.Class = ""
	case slices.Contains(classes, class):
		o.Class = class
	default:
		return world.Errorf(400, "InvalidStorageClass", "The storage class you specified is not valid")
	}
	return nil
}

// class is the class's name in XML, where STANDARD is written too.
func (o *object) class() string {
	if o.Class == "" {
		return standardClass
	}
	return o.Class
}

// cold tells whether the object can be read only after it was restored.
func (o *object) cold() bool { return isCold(o.Class) }

// invalidState refuses an operation on an object of this class. AccessTier, which S3 adds
// for INTELLIGENT_TIERING, is not there.
func invalidState(class string) *world.Error {
	e := world.Errorf(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
	e.Fields = map[string]any{"StorageClass": class}
	return e
}

// notActive refuses a copy of an object that must be restored first.
func notActive() *world.Error {
	return world.Errorf(403, "ObjectNotInActiveTierError", "The source object of the COPY action is not in the active tier and is only stored in Amazon S3 Glacier.")
}
