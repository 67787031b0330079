package glacier_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
)

func TestACompletedJobIsToldOfAsItIsDescribed(t *testing.T) {
	s := start(t, glacier.Config{})
	id := s.upload(data(16))
	job := s.mustInitiate(retrieval(id, glacier.Expedited))
	s.topics.look = func() {
		if out, err := s.describe(job); err != nil || !out.Completed {
			t.Errorf("told before it was seen as completed: %+v, %v", out, err)
		}
	}
	s.finish()
	told := s.topics.all()
	if len(told) != 1 || told[0].topic != topic || told[0].service != "glacier.amazonaws.com" || told[0].source != "arn:aws:glacier:us-east-1:"+account+":vaults/v" {
		t.Fatalf("got %+v, want one message of Glacier about the vault", told)
	}
	m := decodeJSON(t, told[0].message)
	for _, name := range []string{"CompletionDate", "CreationDate"} {
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", m[name].(string)); err != nil {
			t.Error(err)
		}
	}
	got := strings.NewReplacer(id, "ARCHIVE", job, "JOB", m["CompletionDate"].(string), "DATE", m["CreationDate"].(string), "DATE",
		treehash.Of(data(16)).String(), "HASH").Replace(told[0].message)
	if got != golden {
		t.Errorf("got  %s\nwant %s", got, golden)
	}
	raw := s.raw("GET", "/-/vaults/v/jobs/"+job, nil, nil).Body.String()
	if raw != told[0].message {
		t.Errorf("described as %s\ntold as      %s", raw, told[0].message)
	}
}

func TestAVaultsTopicIsToldToo(t *testing.T) {
	s := start(t, glacier.Config{})
	other := topic + "-of-the-vault"
	set := func(topic string, events ...string) error {
		_, err := s.SetVaultNotifications(ctx, &awsglacier.SetVaultNotificationsInput{VaultName: aws.String("v"), VaultNotificationConfig: &types.VaultNotificationConfig{SNSTopic: &topic, Events: events}})
		return err
	}
	wantCode(t, set("x", "ArchiveRetrievalCompleted"), "InvalidParameterValueException", 400)
	wantCode(t, set(other, "Nothing"), "InvalidParameterValueException", 400)
	_, err := s.GetVaultNotifications(ctx, &awsglacier.GetVaultNotificationsInput{VaultName: aws.String("v")})
	wantCode(t, err, "ResourceNotFoundException", 404)
	if err := set(other, "ArchiveRetrievalCompleted"); err != nil {
		t.Fatal(err)
	}
	s.mustInitiate(retrieval(s.upload(data(16)), glacier.Bulk))
	s.finish()
	<-s.topics.told
	told := s.topics.all()
	if len(told) != 2 || told[0].topic != topic || told[1].topic != other || told[0].message != told[1].message {
		t.Errorf("got %+v, want the same message to both topics", told)
	}
	if out, err := s.GetVaultNotifications(ctx, &awsglacier.GetVaultNotificationsInput{VaultName: aws.String("v")}); err != nil || *out.VaultNotificationConfig.SNSTopic != other {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := s.DeleteVaultNotifications(ctx, &awsglacier.DeleteVaultNotificationsInput{VaultName: aws.String("v")}); err != nil {
		t.Error(err)
	}
}

// In a bubble no timer fires until all wait, so that whoever asks is faster than
// the completer.
func TestAJobIsWhatTheClockSaysHoweverSlowTheCompleterIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "", glacier.Config{})
		defer s.close()
		s.vault("v")
		id := s.upload(data(16))
		job := s.mustInitiate(retrieval(id, glacier.Expedited))
		s.world.Clock.Advance(5 * time.Minute)
		if n := len(s.topics.all()); n != 0 {
			t.Fatalf("the completer was here already: it told of %d jobs", n)
		}
		if out, err := s.describe(job); err != nil || !out.Completed {
			t.Errorf("at its time: got %+v, %v, want it completed", out, err)
		}
		if got, _, err := s.output(job, ""); err != nil || !bytes.Equal(got, data(16)) {
			t.Errorf("its output: %v", err)
		}
		synctest.Wait()
		if n := len(s.topics.all()); n != 1 {
			t.Errorf("the completer sent %d notifications, want one", n)
		}
		s.world.Clock.Advance(36 * time.Hour)
		if _, err := s.describe(job); err == nil {
			t.Error("it is described after its life")
		}
		if n := len(s.service.Jobs()); n != 0 {
			t.Errorf("%d jobs are listed, want 0", n)
		}

		// One that is due is finished before its archive is deleted.
		job = s.mustInitiate(retrieval(id, glacier.Expedited))
		s.world.Clock.Advance(5 * time.Minute)
		if _, err := s.DeleteArchive(ctx, &awsglacier.DeleteArchiveInput{VaultName: aws.String("v"), ArchiveId: &id}); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.output(job, ""); err != nil || !bytes.Equal(got, data(16)) {
			t.Errorf("the output of a job with an archive that was deleted after the job was due: %v", err)
		}
	})
}

func TestAJobThatWasDueWhileTheProcessWasDownIsToldOfAtTheStartAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, glacier.Config{})
		s.vault("v")
		id := s.upload(data(mib + 7))
		job := s.mustInitiate(retrieval(id, glacier.Standard))
		synctest.Wait()
		s.close()
		<-time.After(6 * time.Hour)

		s = open(t, dir, glacier.Config{})
		synctest.Wait()
		if told := s.topics.all(); len(told) != 1 || !strings.Contains(told[0].message, job) {
			t.Fatalf("told %+v, want the job", told)
		}
		if got, _, err := s.output(job, ""); err != nil || !bytes.Equal(got, data(mib+7)) {
			t.Errorf("the output after the restart: %v", err)
		}
		s.close()

		s = open(t, dir, glacier.Config{})
		defer s.close()
		synctest.Wait()
		if told := s.topics.all(); len(told) != 0 {
			t.Errorf("told %+v after another restart, want nothing", told)
		}
		if got, _, err := s.output(job, "bytes=1048576-"); err != nil || !bytes.Equal(got, data(mib + 7)[mib:]) {
			t.Errorf("the output after another restart: %v", err)
		}
	})
}

func TestAJobInProgressGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, glacier.Config{})
		s.vault("v")
		job := s.mustInitiate(retrieval(s.upload(data(16)), glacier.Standard))
		due := s.service.Jobs()[0].Due
		s.close()
		s = open(t, dir, glacier.Config{})
		defer s.close()
		s.world.Clock.Advance(time.Until(due) - time.Millisecond)
		synctest.Wait()
		if out, err := s.describe(job); err != nil || out.Completed {
			t.Errorf("before its time: %+v, %v", out, err)
		}
		s.world.Clock.Advance(time.Millisecond)
		synctest.Wait()
		if out, err := s.describe(job); err != nil || !out.Completed {
			t.Errorf("at its time: %+v, %v", out, err)
		}
	})
}

func TestFinishNowEndsWhatIsInProgressAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), glacier.Config{})
		defer s.close()
		s.vault("v")
		id := s.upload(data(16))
		s.service.FinishNow()
		over := []string{s.mustInitiate(retrieval(id, glacier.Expedited)), s.mustInitiate(retrieval(id, glacier.Bulk))}
		before := time.Now()
		s.service.FinishNow()
		next := s.mustInitiate(retrieval(id, glacier.Expedited))
		synctest.Wait()
		for _, job := range over {
			if out, err := s.describe(job); err != nil || !out.Completed {
				t.Errorf("in progress before: %+v, %v", out, err)
			}
			<-s.topics.told
		}
		if out, err := s.describe(next); err != nil || out.Completed {
			t.Errorf("made after: %+v, %v", out, err)
		}
		if now := time.Now(); now != before {
			t.Errorf("it took %s", now.Sub(before))
		}
	})
}
