use super::*;
#[test]
fn x() {
    Cron::new("* * * * *").unwrap();
}
