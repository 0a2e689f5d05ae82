"""What a differences.csv begins with."""

HEADER = "method,name,reference,against,benchmark,metric,difference,low,high,verdict"
