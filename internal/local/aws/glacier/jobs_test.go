package glacier_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
)

func lockPolicy(text string) *types.VaultLockPolicy { return &types.VaultLockPolicy{Policy: &text} }

func TestRangesComeWithATreeHashOnlyWhenTheyAreAligned(t *testing.T) {
	s := start(t, glacier.Config{})
	body := data(6*mib + 1000)
	id := s.upload(body)
	whole := s.mustInitiate(retrieval(id, glacier.Bulk))
	p := retrieval(id, glacier.Bulk)
	p.RetrievalByteRange = aws.String(fmt.Sprintf("%d-%d", 4*mib, len(body)-1))
	tail := s.mustInitiate(p)
	p.RetrievalByteRange = aws.String(fmt.Sprintf("%d-%d", mib, 3*mib-1)) // two leaves of two nodes
	crooked := s.mustInitiate(p)
	s.finish()
	<-s.topics.told
	<-s.topics.told
	for _, c := range []struct {
		job      string
		at       int // where the job's output begins in the archive
		rng      string
		from, to int // in the output
		hashed   bool
	}{
		{whole, 0, "", 0, len(body), true},
		{whole, 0, "bytes=0-1048575", 0, mib, true},
		{whole, 0, "bytes=1048576-2097151", mib, 2 * mib, true},
		{whole, 0, "bytes=0-4194303", 0, 4 * mib, true},
		{whole, 0, "bytes=4194304-", 4 * mib, len(body), true},
		{whole, 0, "bytes=4194304-99999999999", 4 * mib, len(body), true},
		{whole, 0, "bytes=6291456-", 6 * mib, len(body), true},
		{whole, 0, "bytes=1048576-3145727", mib, 3 * mib, false},
		{whole, 0, "bytes=0-3145727", 0, 3 * mib, false},
		{whole, 0, "bytes=2097152-", 2 * mib, len(body), false},
		{whole, 0, "bytes=0-99", 0, 100, false},
		{whole, 0, "bytes=100-1048575", 100, mib, false},
		{tail, 4 * mib, "", 0, 2*mib + 1000, true},
		{tail, 4 * mib, "bytes=0-2097151", 0, 2 * mib, true},
		{tail, 4 * mib, "bytes=2097152-2097153", 2 * mib, 2*mib + 2, false},
		{crooked, mib, "", 0, 2 * mib, false},
		{crooked, mib, "bytes=0-1048575", 0, mib, false}, // the job's own range is not aligned
	} {
		got, out, err := s.output(c.job, c.rng)
		if err != nil {
			t.Errorf("%s: %v", c.rng, err)
			continue
		}
		want := body[c.at+c.from : c.at+c.to]
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got other bytes (%d, want %d)", c.rng, len(got), len(want))
		}
		hash := ""
		if c.hashed {
			hash = treehash.Of(want).String()
		}
		if aws.ToString(out.Checksum) != hash {
			t.Errorf("%s: got tree hash %q, want %q", c.rng, aws.ToString(out.Checksum), hash)
		}
		if c.rng == "" != (out.Status == 200) || c.rng != "" && out.Status != 206 {
			t.Errorf("%s: got status %d", c.rng, out.Status)
		}
	}
	_, out, _ := s.output(whole, "bytes=0-99")
	if want := fmt.Sprintf("bytes 0-99/%d", len(body)); *out.ContentRange != want {
		t.Errorf("got Content-Range %s, want %s", *out.ContentRange, want)
	}
	for _, rng := range []string{"bytes=-5", "bytes=9-5", "bytes=99999999-", "bytes=0-1,5-6", "0-5"} {
		_, _, err := s.output(whole, rng)
		wantCode(t, err, "InvalidParameterValueException", 400)
	}
}

func TestJobsThatAWSRefusesAreRefused(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(3 * mib))
	text := aws.String
	for _, c := range []struct {
		name   string
		change func(p *types.JobParameters)
		code   string
		status int
	}{
		{"no type", func(p *types.JobParameters) { p.Type = nil }, "MissingParameterValueException", 400},
		{"unknown type", func(p *types.JobParameters) { p.Type = text("restore") }, "InvalidParameterValueException", 400},
		{"select", func(p *types.JobParameters) { p.Type = text("select") }, "NoLongerSupportedException", 400},
		{"no archive", func(p *types.JobParameters) { p.ArchiveId = nil }, "MissingParameterValueException", 400},
		{"unknown archive", func(p *types.JobParameters) { p.ArchiveId = text(strings.Repeat("x", 138)) }, "ResourceNotFoundException", 404},
		{"malformed archive", func(p *types.JobParameters) { p.ArchiveId = text("x") }, "InvalidParameterValueException", 400},
		{"unknown tier", func(p *types.JobParameters) { p.Tier = text("expedited") }, "InvalidParameterValueException", 400},
		{"long description", func(p *types.JobParameters) { p.Description = text(strings.Repeat("x", 1025)) }, "InvalidParameterValueException", 400},
		{"description with an umlaut", func(p *types.JobParameters) { p.Description = text("für") }, "InvalidParameterValueException", 400},
		{"a queue as topic", func(p *types.JobParameters) { p.SNSTopic = text("arn:aws:sqs:us-east-1:123456789012:q") }, "InvalidParameterValueException", 400},
		{"range off the megabyte", func(p *types.JobParameters) { p.RetrievalByteRange = text("1-1048575") }, "InvalidParameterValueException", 400},
		{"range that ends off it", func(p *types.JobParameters) { p.RetrievalByteRange = text("0-1048574") }, "InvalidParameterValueException", 400},
		{"range beyond the end", func(p *types.JobParameters) { p.RetrievalByteRange = text("0-4194303") }, "InvalidParameterValueException", 400},
		{"range of nothing", func(p *types.JobParameters) { p.RetrievalByteRange = text("bytes=0-1") }, "InvalidParameterValueException", 400},
		{"format", func(p *types.JobParameters) { p.Format = text("CSV") }, "InvalidParameterValueException", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := retrieval(id, glacier.Standard)
			c.change(p)
			_, err := s.initiate(p)
			wantCode(t, err, c.code, c.status)
		})
	}
	if n := len(s.service.Jobs()); n != 0 {
		t.Errorf("%d jobs were made, want 0", n)
	}
	if n := len(s.service.Retrievals()); n != 0 {
		t.Errorf("%d archives were billed, want 0", n)
	}
}

func TestExpeditedIsRefusedWhenItsCapacityIsUsedUp(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(10))
	s.service.SetExpeditedCapacity(2, 5*time.Minute)
	for range 2 {
		s.mustInitiate(retrieval(id, glacier.Expedited))
	}
	_, err := s.initiate(retrieval(id, glacier.Expedited))
	wantCode(t, err, "InsufficientCapacityException", 503)
	s.mustInitiate(retrieval(id, glacier.Standard))
	s.world.Clock.Advance(5 * time.Minute)
	s.mustInitiate(retrieval(id, glacier.Expedited))
	s.service.SetExpeditedCapacity(-1, 0)
	s.service.SetExpeditedRefusal(1)
	_, err = s.initiate(retrieval(id, glacier.Expedited))
	wantCode(t, err, "InsufficientCapacityException", 503)
	want := map[glacier.Tier]glacier.Billed{glacier.Expedited: {Jobs: 3, Bytes: 30}, glacier.Standard: {Jobs: 1, Bytes: 10}}
	if got := s.service.Billed(); !maps.Equal(got, want) {
		t.Errorf("billed %v, want %v", got, want)
	}
	if got := s.service.Retrievals()[id]; got != 4 {
		t.Errorf("got %d retrievals of the archive, want 4", got)
	}
}

func TestARetrievalPolicyHoldsForStandardOnly(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(600))
	set := func(strategy string, bytes *int64) error {
		_, err := s.SetDataRetrievalPolicy(ctx, &awsglacier.SetDataRetrievalPolicyInput{Policy: &types.DataRetrievalPolicy{
			Rules: []types.DataRetrievalRule{{Strategy: &strategy, BytesPerHour: bytes}}}})
		return err
	}
	wantCode(t, set("BytesPerHour", nil), "InvalidParameterValueException", 400)
	wantCode(t, set("Free", nil), "InvalidParameterValueException", 400)
	wantCode(t, set("None", aws.Int64(1)), "InvalidParameterValueException", 400)
	if err := set("BytesPerHour", aws.Int64(1000)); err != nil {
		t.Fatal(err)
	}
	s.mustInitiate(retrieval(id, glacier.Standard))
	_, err := s.initiate(retrieval(id, glacier.Standard))
	wantCode(t, err, "PolicyEnforcedException", 400)
	s.mustInitiate(retrieval(id, glacier.Bulk))
	s.mustInitiate(retrieval(id, glacier.Expedited))
	s.finish()
	<-s.topics.told
	<-s.topics.told
	s.mustInitiate(retrieval(id, glacier.Standard)) // the one before is done
	out, err := s.GetDataRetrievalPolicy(ctx, &awsglacier.GetDataRetrievalPolicyInput{})
	if err != nil || *out.Policy.Rules[0].Strategy != "BytesPerHour" || *out.Policy.Rules[0].BytesPerHour != 1000 {
		t.Errorf("got %+v, %v", out, err)
	}
	if err := set("None", nil); err != nil {
		t.Fatal(err)
	}
	s.mustInitiate(retrieval(id, glacier.Standard))
}

// golden is the notification of a retrieval, with what differs from run to run
// taken out.
const golden = `{"Action":"ArchiveRetrieval","ArchiveId":"ARCHIVE","ArchiveSHA256TreeHash":"HASH","ArchiveSizeInBytes":16,"Completed":true,` +
	`"CompletionDate":"DATE","CreationDate":"DATE","InventorySizeInBytes":null,"JobDescription":"job-1","JobId":"JOB","RetrievalByteRange":"0-15",` +
	`"SHA256TreeHash":"HASH","SNSTopic":"` + topic + `","StatusCode":"Succeeded","StatusMessage":"Succeeded","Tier":"Expedited",` +
	`"VaultARN":"arn:aws:glacier:us-east-1:` + account + `:vaults/v"}`

func TestAFailedJobSaysWhyAndHasNoOutput(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(16))
	s.service.FailNext(1, "The archive could not be read")
	job := s.mustInitiate(retrieval(id, glacier.Expedited))
	s.finish()
	m := decodeJSON(t, s.topics.all()[0].message)
	if m["StatusCode"] != "Failed" || m["StatusMessage"] != "The archive could not be read" || m["Completed"] != true {
		t.Errorf("got %v", m)
	}
	_, _, err := s.output(job, "")
	wantCode(t, err, "ResourceNotFoundException", 404)
	again := s.mustInitiate(retrieval(id, glacier.Expedited))
	s.finish()
	if _, _, err := s.output(again, ""); err != nil {
		t.Errorf("only one was to fail: %v", err)
	}
}

func TestDeletingAnArchiveFailsItsRetrievalAndLeavesPreparedOutput(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(16))
	prepared := s.mustInitiate(retrieval(id, glacier.Expedited))
	s.finish()
	running := s.mustInitiate(retrieval(id, glacier.Expedited))
	if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
		t.Fatal(err)
	}
	s.world.Clock.Advance(5 * time.Minute)
	<-s.topics.told
	if got, _, err := s.output(prepared, ""); err != nil || !bytes.Equal(got, data(16)) {
		t.Errorf("prepared output: %v", err)
	}
	if out, err := s.describe(running); err != nil || out.StatusCode != types.StatusCodeFailed {
		t.Errorf("the running one: got %+v, %v", out, err)
	}
}

func TestOutputIsGoneAfterADayAndTheJobLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, glacier.Config{})
		defer s.close()
		s.vault("v")
		id := s.upload(data(16))
		job := s.mustInitiate(retrieval(id, glacier.Expedited))
		s.world.Clock.Advance(5 * time.Minute)
		synctest.Wait()
		if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
			t.Fatal(err)
		}
		s.world.Clock.Advance(24*time.Hour - time.Millisecond)
		synctest.Wait()
		if _, _, err := s.output(job, ""); err != nil {
			t.Errorf("just before: %v", err)
		}
		s.world.Clock.Advance(time.Millisecond)
		synctest.Wait()
		_, _, err := s.output(job, "")
		wantCode(t, err, "ResourceNotFoundException", 404)
		if out, err := s.describe(job); err != nil || !out.Completed {
			t.Errorf("it is still to be described: %v", err)
		}
		s.world.Clock.Advance(12 * time.Hour)
		synctest.Wait()
		_, err = s.describe(job)
		wantCode(t, err, "ResourceNotFoundException", 404)
		if n := len(s.service.Jobs()); n != 0 {
			t.Errorf("%d jobs are listed, want 0", n)
		}
		if blobs, err := os.ReadDir(filepath.Join(dir, "blobs")); err != nil || len(blobs) != 0 {
			t.Errorf("%d files are left, want 0 (%v)", len(blobs), err)
		}
		if got := s.service.Retrievals()[id]; got != 1 {
			t.Errorf("the bill has %d retrievals, want 1", got)
		}
	})
}

func TestEachTierTakesItsTime(t *testing.T) {
	for tier, want := range map[glacier.Tier][2]time.Duration{
		glacier.Expedited: {time.Minute, 5 * time.Minute},
		glacier.Standard:  {3 * time.Hour, 5 * time.Hour},
		glacier.Bulk:      {5 * time.Hour, 12 * time.Hour},
	} {
		s := start(t, glacier.Config{Seed: 3})
		id := s.upload(data(1))
		lowest, highest := want[1], want[0]
		for range 50 {
			s.mustInitiate(retrieval(id, tier))
		}
		for _, j := range s.service.Jobs() {
			d := j.Due.Sub(j.Created)
			lowest, highest = min(lowest, d), max(highest, d)
		}
		if lowest < want[0] || highest > want[1] || highest-lowest < (want[1]-want[0])/2 {
			t.Errorf("%s: takes %v to %v, want to be spread over %v to %v", tier, lowest, highest, want[0], want[1])
		}
	}
}

func TestJobsAreListedByStatusAndPage(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(16))
	var done, running []string
	for range 60 {
		done = append(done, s.mustInitiate(retrieval(id, glacier.Expedited)))
	}
	s.world.Clock.Advance(5 * time.Minute)
	for range 60 {
		<-s.topics.told
	}
	for range 55 {
		running = append(running, s.mustInitiate(retrieval(id, glacier.Bulk)))
	}
	list := func(in awsglacier.ListJobsInput) []string {
		var out []string
		in.VaultName = aws.String("v")
		for p := awsglacier.NewListJobsPaginator(s, &in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.JobList) > 50 {
				t.Errorf("a page of %d jobs, want at most 50", len(page.JobList))
			}
			for _, j := range page.JobList {
				out = append(out, *j.JobId)
			}
		}
		slices.Sort(out)
		return out
	}
	slices.Sort(done)
	slices.Sort(running)
	all := append(slices.Clone(done), running...)
	slices.Sort(all)
	for _, c := range []struct {
		name string
		in   awsglacier.ListJobsInput
		want []string
	}{
		{"all", awsglacier.ListJobsInput{}, all},
		{"by 7", awsglacier.ListJobsInput{Limit: aws.Int32(7)}, all},
		{"completed", awsglacier.ListJobsInput{Completed: aws.String("true")}, done},
		{"not completed", awsglacier.ListJobsInput{Completed: aws.String("false")}, running},
		{"in progress", awsglacier.ListJobsInput{Statuscode: aws.String("InProgress")}, running},
		{"succeeded", awsglacier.ListJobsInput{Statuscode: aws.String("Succeeded"), Completed: aws.String("true")}, done},
		{"failed", awsglacier.ListJobsInput{Statuscode: aws.String("Failed")}, nil},
	} {
		if got := list(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %d jobs, want %d", c.name, len(got), len(c.want))
		}
	}
	for _, in := range []awsglacier.ListJobsInput{
		{Statuscode: aws.String("finished")}, {Completed: aws.String("yes")}, {Limit: aws.Int32(51)}, {Limit: aws.Int32(0)}, {Marker: aws.String("a/b")},
	} {
		in.VaultName = aws.String("v")
		_, err := s.ListJobs(ctx, &in)
		wantCode(t, err, "InvalidParameterValueException", 400)
	}
}

func TestAnInventoryListsTheArchives(t *testing.T) {
	s := start(t, glacier.Config{})
	ids := []string{s.upload(data(16)), s.upload(data(32))}
	slices.Sort(ids)
	inventory := func(format *string) (string, string) {
		job := s.mustInitiate(&types.JobParameters{Type: aws.String("inventory-retrieval"), SNSTopic: aws.String(topic), Format: format})
		s.finish()
		body, out, err := s.output(job, "")
		if err != nil {
			t.Fatal(err)
		}
		if d, err := s.describe(job); err != nil || *d.InventorySizeInBytes != int64(len(body)) || d.ArchiveId != nil {
			t.Errorf("described as %+v, %v", d, err)
		}
		return string(body), *out.ContentType
	}
	text, kind := inventory(nil)
	var got struct {
		VaultARN    string
		ArchiveList []struct {
			ArchiveId, ArchiveDescription, SHA256TreeHash string
			Size                                          int64
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || kind != "application/json" {
		t.Fatalf("%v, content type %s", err, kind)
	}
	if len(got.ArchiveList) != 2 || got.ArchiveList[0].ArchiveId != ids[0] || got.ArchiveList[1].ArchiveId != ids[1] || got.ArchiveList[0].Size+got.ArchiveList[1].Size != 48 {
		t.Errorf("got %+v", got)
	}
	text, kind = inventory(aws.String("CSV"))
	if kind != "text/csv" || strings.Count(text, "\n") != 3 || !strings.HasPrefix(text, "ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash\n"+ids[0]) {
		t.Errorf("got %s: %s", kind, text)
	}
}

func TestProvisionedCapacityIsSoldUpToTwoUnits(t *testing.T) {
	s := start(t, glacier.Config{})
	for range 2 {
		if _, err := s.PurchaseProvisionedCapacity(ctx, &awsglacier.PurchaseProvisionedCapacityInput{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.PurchaseProvisionedCapacity(ctx, &awsglacier.PurchaseProvisionedCapacityInput{})
	wantCode(t, err, "LimitExceededException", 400)
	if out, err := s.ListProvisionedCapacity(ctx, &awsglacier.ListProvisionedCapacityInput{}); err != nil || len(out.ProvisionedCapacityList) != 2 {
		t.Errorf("got %+v, %v", out, err)
	}
}

func FuzzJobParametersAreTakenOrRefused(f *testing.F) {
	f.Add([]byte(`{"Type":"archive-retrieval","ArchiveId":"x","Tier":"Bulk"}`))
	f.Add([]byte(`{"Type":"inventory-retrieval","Format":"CSV"}`))
	f.Add([]byte(`{"Type":"select","SelectParameters":{}}`))
	f.Add([]byte(`[]`))
	s := start(f, glacier.Config{})
	f.Fuzz(func(t *testing.T, body []byte) {
		rec := s.raw("POST", "/-/vaults/v/jobs", body, nil)
		if rec.Code != 202 && rec.Code/100 != 4 {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	})
}

func BenchmarkInitiateJob(b *testing.B) {
	for _, kept := range []bool{false, true} {
		b.Run(fmt.Sprintf("journal=%t", kept), func(b *testing.B) {
			dir := ""
			if kept {
				dir = b.TempDir()
			}
			s := open(b, dir, glacier.Config{})
			defer s.close()
			s.vault("v")
			// Not with the SDK, which takes a megabyte of memory to hash this body.
			body := []byte(`{"Type":"archive-retrieval","Tier":"Bulk","Description":"job-1","ArchiveId":"` + s.upload(data(10)) + `","SNSTopic":"` + topic + `"}`)
			for b.Loop() {
				if rec := s.raw("POST", "/-/vaults/v/jobs", body, nil); rec.Code != 202 {
					b.Fatal(rec.Body)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

func BenchmarkOutput(b *testing.B) {
	s := open(b, "", glacier.Config{})
	defer s.close()
	s.vault("v")
	job := s.mustInitiate(retrieval(s.upload(data(64*mib)), glacier.Bulk))
	s.finish()
	b.SetBytes(64 * mib)
	for b.Loop() {
		if _, _, err := s.output(job, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func TestManyCallersShareAVault(t *testing.T) {
	s := start(t, glacier.Config{})
	const callers, each = 8, 6
	want := make(chan map[string]int, callers) // by job: the output's size, 0 if it is to fail
	var work sync.WaitGroup
	for caller := range callers {
		work.Go(func() {
			jobs := map[string]int{}
			for i := range each {
				size := mib - each + caller*each + i
				id := s.upload(data(size))
				job := s.mustInitiate(retrieval(id, glacier.Bulk))
				jobs[job] = size
				if i%2 == 1 {
					if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
						t.Error(err)
					}
					jobs[job] = 0
				}
			}
			want <- jobs
		})
	}
	work.Wait()
	close(want)
	s.world.Clock.Advance(12 * time.Hour)
	for range callers * each {
		<-s.topics.told
	}
	for jobs := range want {
		for job, size := range jobs {
			got, _, err := s.output(job, "")
			if size == 0 {
				wantCode(t, err, "ResourceNotFoundException", 404)
			} else if err != nil || !bytes.Equal(got, data(size)) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, size)
			}
		}
	}
	if n := len(s.service.Archives("v")); n != callers*each/2 {
		t.Errorf("%d archives are left, want %d", n, callers*each/2)
	}
}

func BenchmarkCompletion(b *testing.B) {
	s := open(b, b.TempDir(), glacier.Config{})
	defer s.close()
	s.vault("v")
	body := []byte(`{"Type":"archive-retrieval","Tier":"Bulk","Description":"job-1","ArchiveId":"` + s.upload(data(10)) + `","SNSTopic":"` + topic + `"}`)
	for range b.N {
		if rec := s.raw("POST", "/-/vaults/v/jobs", body, nil); rec.Code != 202 {
			b.Fatal(rec.Body)
		}
	}
	b.ResetTimer()
	s.world.Clock.Advance(12 * time.Hour)
	for range b.N {
		<-s.topics.told
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}
