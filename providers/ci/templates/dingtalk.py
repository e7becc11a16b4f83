import base64, hashlib, hmac, json, os, time, urllib.parse, urllib.request

env, query = os.environ, {}
if env.get("DINGTALK_TOKEN"):
    query["access_token"] = env["DINGTALK_TOKEN"]
if env.get("DINGTALK_SECURITY") == "SECRET":
    stamp = str(round(time.time() * 1000))
    key = env["DINGTALK_VALUE"]
    signed = hmac.new(key.encode(), f"{stamp}\n{key}".encode(), hashlib.sha256).digest()
    query |= {"timestamp": stamp, "sign": base64.b64encode(signed).decode()}
keyword = env["DINGTALK_VALUE"] if env.get("DINGTALK_SECURITY") == "KEY" else ""
people = [number.strip() for number in env.get("DINGTALK_AT", "").split(",") if number.strip()]
mentions = " ".join("@" + number for number in people)
text = f"### {env['TITLE']}: {env['RESULT']}\n\n[{env['REVISION'][:8]}]({env['RUN_URL']}) {keyword} {mentions}"
message = {
    "msgtype": "markdown",
    "markdown": {"title": f"{env['TITLE']}: {env['RESULT']}", "text": text},
    "at": {"atMobiles": people},
}
url = env["DINGTALK_URL"] + ("?" + urllib.parse.urlencode(query) if query else "")
request = urllib.request.Request(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
answer = json.load(urllib.request.urlopen(request, timeout=30))
if answer.get("errcode"):
    raise SystemExit(f"DingTalk refused the message: {answer}")
