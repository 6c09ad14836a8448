//! What pendulum's datetimes have and these have not.

use crate::jinja::{
    fault::{Result, fault},
    value::Value,
};

/// The names of pendulum 3, but for those that are supplied.
const NAMES: &str = "EPOCH astimezone average closest combine create ctime diff_for_humans dst farthest first_of for_json \
                     fromisocalendar fromisoformat fromordinal fromtimestamp get_offset instance is_anniversary \
                     is_birthday is_dst is_future is_leap_year is_local is_long_year is_past is_same_day is_utc \
                     isocalendar last_of next now nth_of offset_hours previous resolution strptime timetuple timetz \
                     to_atom_string to_cookie_string to_day_datetime_string to_formatted_date_string \
                     to_rfc1036_string to_rfc1123_string to_rfc2822_string to_rfc3339_string to_rfc822_string \
                     to_rfc850_string to_rss_string to_w3c_string today toordinal utcfromtimestamp utcnow \
                     utctimetuple week_of_month";

/// Refuses what is asked for where pendulum has it; what it has not either is none of its attributes.
pub(super) fn refuse(name: &str) -> Result<Option<Value>> {
    if NAMES.split(' ').all(|known| known != name) {
        return Ok(None);
    }
    let mend = match name {
        "next" | "previous" | "first_of" | "last_of" | "nth_of" => {
            "count days from day_of_week with add or subtract, or from start_of('month')"
        }
        name if name.starts_with("to_") || matches!(name, "ctime" | "for_json") => {
            "use strftime, format or isoformat"
        }
        "now" | "today" | "utcnow" | "is_past" | "is_future" | "diff_for_humans" => {
            "it is another at each try; macros.datetime_diff_for_humans compares with now"
        }
        _ => "let a function of `user_defined_macros` do it",
    };
    fault(format!("'{name}' of a datetime is not supported: {mend}"))
}
