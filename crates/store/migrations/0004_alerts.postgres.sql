-- Nothing new begins anywhere.
ALTER TABLE engine ADD COLUMN paused BOOLEAN NOT NULL DEFAULT FALSE;

-- Deadlines of a run up to this time were told, or need not be.
ALTER TABLE run ADD COLUMN deadlines_told BIGINT;

-- Alerts on deadlines and on ticks without a run, what an alert says, and what becomes of it where nobody knows
-- whether it went out. A test of an alert is about no run.
ALTER TABLE delivery ALTER COLUMN run DROP NOT NULL;
ALTER TABLE delivery DROP CONSTRAINT delivery_alert_on_check;
ALTER TABLE delivery ADD CHECK (alert_on IN ('failure', 'retry', 'success', 'deadline', 'missed'));
ALTER TABLE delivery ADD CHECK (task IS NULL OR run IS NOT NULL);
ALTER TABLE delivery ADD COLUMN words TEXT COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE delivery ALTER COLUMN words DROP DEFAULT;
ALTER TABLE delivery ADD COLUMN on_doubt TEXT COLLATE "C" NOT NULL DEFAULT 'resend' CHECK (on_doubt IN ('resend', 'hold'));
ALTER TABLE delivery ALTER COLUMN on_doubt DROP DEFAULT;

-- The delivery that tells of this one as well: of many by one way in a short time most are gathered into one.
ALTER TABLE delivery ADD COLUMN digest BIGINT;
CREATE INDEX delivery_digest ON delivery (digest);
