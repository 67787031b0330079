package dynamodb_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testenv"
)

func TestAFileKeepsItsSizeAndItsTimeWhenItsArchiveIsCleared(t *testing.T) {
	a := testenv.NewAWS(t)
	a.Account("u", archive.Premium)
	a.Archive("u", "j", []byte("the bytes"))
	job, err := a.Catalog.Job(t.Context(), "j")
	if err != nil || job.ArchiveSize != 9 || job.ResultSize != 0 {
		t.Fatalf("in the archive: %+v, %v", job, err)
	}
	intent := archive.Intent{Token: "t", At: time.Now()}
	if err := a.Catalog.SaveIntent(t.Context(), job, intent); err != nil {
		t.Fatal(err)
	}
	if err := a.Catalog.SaveRetrieval(t.Context(), job, intent, archive.Retrieval{ID: "r", Tier: archive.Expedited, RequestedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if job, err = a.Catalog.Job(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	back := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	job.RestoredAt = back
	if err := a.Catalog.ClearArchive(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if job, err = a.Catalog.Job(t.Context(), "j"); err != nil || job.ArchiveID != "" || job.ArchiveSize != -1 || job.ResultSize != 9 || !job.RestoredAt.Equal(back) {
		t.Errorf("back: %+v, %v; want the size of the result and the time, and no size of an archive", job, err)
	}
}
