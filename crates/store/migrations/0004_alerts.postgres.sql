-- What an alert says, and what becomes of it where nobody knows whether it went out.
ALTER TABLE delivery ADD COLUMN words TEXT COLLATE "C" NOT NULL DEFAULT '{}';
ALTER TABLE delivery ADD COLUMN on_doubt TEXT COLLATE "C" NOT NULL DEFAULT 'resend' CHECK (on_doubt IN ('resend', 'hold'));
