use serde_json::{Map, Value};

use crate::MintError;

/// The claims that are times.
const TIMES: [&str; 3] = ["exp", "nbf", "iat"];

/// The claims with relative times made absolute.
pub(crate) fn resolve(text: &str, now: u64) -> Result<Map<String, Value>, MintError> {
    let mut claims: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| MintError::Claims(error.to_string()))?;
    for name in TIMES {
        if let Some(Value::String(text)) = claims.get(name)
            && text.starts_with(['+', '-'])
        {
            let time = relative(text, now).ok_or_else(|| MintError::Time(text.clone()))?;
            claims.insert(name.to_owned(), time.into());
        }
    }
    Ok(claims)
}

fn relative(text: &str, now: u64) -> Option<u64> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let scale = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    let amount: u64 = text.get(1..unit_at)?.parse().ok()?;
    let seconds = amount.checked_mul(scale)?;
    if text.starts_with('+') {
        now.checked_add(seconds)
    } else {
        now.checked_sub(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_relative() {
        let claims = resolve(r#"{"exp":"+1h","nbf":"-30s","iat":7,"sub":"+1h"}"#, 1000).unwrap();
        assert_eq!(
            Value::Object(claims).to_string(),
            r#"{"exp":4600,"iat":7,"nbf":970,"sub":"+1h"}"#
        );
        assert_eq!(
            resolve(r#"{"exp":"+1y"}"#, 0),
            Err(MintError::Time("+1y".into()))
        );
        assert!(matches!(resolve("[]", 0), Err(MintError::Claims(_))));
    }
}
