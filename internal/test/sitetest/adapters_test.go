package sitetest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	awss3 "github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/sitetest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// TestTheAdaptersDoWhatTheSiteReliesOn runs the suite with the adapters that the site has in
// production, over the stand-in of AWS and a NATS server.
func TestTheAdaptersDoWhatTheSiteReliesOn(t *testing.T) {
	ns := testenv.NATS(t)
	sitetest.Run(t, func(t *testing.T) sitetest.Ports {
		a := testenv.NewAWS(t)
		remake := func() {
			op := testenv.Bus(t, ns, "operator")
			if err := op.JS.DeleteStream(t.Context(), events.StreamStatus); err != nil {
				t.Fatal(err)
			}
			if err := bus.Provision(t.Context(), op.JS, bus.Settings{}); err != nil {
				t.Fatal(err)
			}
		}
		remake() // each part begins with an empty stream
		client := &http.Client{Transport: a.Transport()}
		site := testenv.Bus(t, ns, "web")
		sessions, err := site.OpenTTLStore(t.Context(), bus.BucketSessions)
		if err != nil {
			t.Fatal(err)
		}
		return sitetest.Ports{
			// Two archived jobs a page, so that there are several pages.
			Accounts: a.Catalog, Jobs: a.Catalog.Paged(2), Downloads: awss3.New(a.Config), Statuses: wiring.Statuses(site), Sessions: sessions, Letters: wiring.Letters(site, time.Now),
			Bucket: testenv.BucketID,
			AddJob: func(j archive.Job) {
				if err := a.Catalog.AddJob(t.Context(), j); err != nil {
					t.Fatal(err)
				}
			},
			PutObject: func(o archive.Object, body string) {
				if _, err := a.Objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: strings.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
					t.Fatal(err)
				}
			},
			Get:    sitetest.Getter(client),
			GiveUp: func(letter events.DeadLetter) { bustest.StoreLetters(t, testenv.Bus(t, ns, "operator"), letter) },
			Report: func(e events.StatusChanged) { bustest.Publish(t, ns, e) },
			Remake: remake,
		}
	})
}
